/* The charts of a training run, which our Python package draws. */
#ifndef DN_CLI_REPORT_H
#define DN_CLI_REPORT_H

/* Draws in the background, without a word; does nothing while an earlier drawing is at work. */
void dn_start_report(const char *folder);

/* Draws and waits for it. Prints where the charts are or, where they could not be drawn, the
 * command that draws them; nothing where the user wants no Python. */
void dn_run_report(const char *folder);

#endif
