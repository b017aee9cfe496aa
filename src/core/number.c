/* Decimal numbers: see number.h. */
#include "core/number.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    DN_NUMBER_MAX = 400,   /* characters; a double needs 24 */
    DN_EXPONENT_MAX = 400, /* larger ones are clamped: the result is 0 or infinite anyway */
};

static const double powers_of_ten[DN_POWER_MAX + 1] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

double dn_power_of_ten(int exponent)
{
    return powers_of_ten[exponent];
}

/* A number taken apart: (-1)^negative * digits * 10^exponent, unless `many`. */
typedef struct dn_decimal {
    uint64_t digits;
    int exponent;
    bool negative;
    bool many; /* more digits than `digits` holds */
} dn_decimal;

static const char *read_digits(const char *at, const char *end, bool fraction, dn_decimal *out)
{
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        if (out->digits > (UINT64_MAX - 9) / 10) {
            out->many = true;
            continue;
        }
        out->digits = 10 * out->digits + (uint64_t)(*at - '0');
        out->exponent -= fraction;
    }
    return at;
}

/* Behind "e", "e+", "e-"; NULL where no digit follows. */
static const char *read_exponent(const char *at, const char *end, dn_decimal *out)
{
    const bool negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+')) at++;
    if (at == end) return NULL;
    int exponent = 0;
    for (; at < end && *at >= '0' && *at <= '9'; at++)
        if (exponent < DN_EXPONENT_MAX) exponent = 10 * exponent + (*at - '0');
    out->exponent += negative ? -exponent : exponent;
    return at;
}

static bool read_decimal(const char *text, size_t length, dn_decimal *out)
{
    const char *at = text, *end = text + length;
    *out = (dn_decimal){.negative = length > 0 && *at == '-'};
    if (at < end && (*at == '-' || *at == '+')) at++;
    const char *whole = at;
    at = read_digits(at, end, false, out);
    size_t digits = (size_t)(at - whole);
    if (at < end && *at == '.') {
        const char *fraction = ++at;
        at = read_digits(at, end, true, out);
        digits += (size_t)(at - fraction);
    }
    if (digits == 0) return false;
    if (at < end && (*at == 'e' || *at == 'E')) at = read_exponent(at + 1, end, out);
    return at == end;
}

/* strtod for a text that is known to be a number. */
static bool read_slowly(const char *text, size_t length, double *out)
{
    char copy[DN_NUMBER_MAX + 1];
    if (length > DN_NUMBER_MAX) return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    const locale_t plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    if (plain == (locale_t)0) return false;
    const locale_t old = uselocale(plain);
    *out = strtod(copy, NULL);
    uselocale(old);
    freelocale(plain);
    return true;
}

bool dn_read_number(const char *text, size_t length, double *out)
{
    dn_decimal number;
    if (!read_decimal(text, length, &number)) return false;
    const bool exact = !number.many && number.digits <= (UINT64_C(1) << 53) &&
                       abs(number.exponent) <= DN_POWER_MAX;
    if (!exact) return read_slowly(text, length, out);
    const double value = (double)number.digits;
    const double scaled = number.exponent < 0 ? value / powers_of_ten[-number.exponent]
                                              : value * powers_of_ten[number.exponent];
    *out = number.negative ? -scaled : scaled;
    return true;
}

bool dn_read_integer(const char *text, size_t length, int64_t *out)
{
    dn_decimal number;
    if (!read_decimal(text, length, &number)) return false;
    if (number.exponent == 0 && !number.many && number.digits <= INT64_MAX) {
        *out = number.negative ? -(int64_t)number.digits : (int64_t)number.digits;
        return true;
    }
    double value;
    if (!dn_read_number(text, length, &value)) return false;
    if (value != trunc(value) || fabs(value) > 9007199254740992.0) return false;
    *out = (int64_t)value;
    return true;
}
