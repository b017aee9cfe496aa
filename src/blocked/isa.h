/* One source, one object an instruction set: how the files of src/blocked name what they export.
 *
 * Every .c file of this directory is compiled once for each instruction set of the machine's family
 * (ISAS in the Makefile), with that set's flags and -DDN_ISA=<name>. DN_ISA_NAME(dn_x) is
 * dn_x_<name>, so the forms of one function stand side by side in one library; only kernels.c's
 * table is known outside, and dn_kernels_in_use() chooses one at run time.
 */
#ifndef DN_BLOCKED_ISA_H
#define DN_BLOCKED_ISA_H

#ifndef DN_ISA
#error "src/blocked is compiled with -DDN_ISA=plain, avx2, avx512, avx512vnni, avx512bf16 or neon"
#endif

#define DN_ISA_JOIN(name, isa)   name##_##isa
#define DN_ISA_JOINED(name, isa) DN_ISA_JOIN(name, isa)
#define DN_ISA_NAME(name)        DN_ISA_JOINED(name, DN_ISA)

#endif
