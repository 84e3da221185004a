/* SPDX-License-Identifier: Apache-2.0
 *
 * What the simulated libraries share: the state document and the faults in it.
 *
 * The state is one JSON file, which provision/rehearsal/gpu/state.py writes whole. Every call looks
 * whether the file is another one than before and reads it again if so.
 */
#ifndef HOLDFAST_SIM_H
#define HOLDFAST_SIM_H

#include <stddef.h>

#define API __attribute__((visibility("default")))

#define STATE_VARIABLE "HOLDFAST_GPUS_STATE"
#define STATE_FILE "/var/lib/holdfast-simulated-gpus/state.json"

enum kind { IS_NULL, IS_FALSE, IS_TRUE, IS_NUMBER, IS_TEXT, IS_LIST, IS_MAP };

/* A JSON value. A list or map has its members behind `first`, linked by `next`. */
struct json {
    enum kind kind;
    const char *key;
    const char *text;
    double number;
    unsigned long long whole; /* the number's size, where it is a whole one */
    int negative;
    struct json *first, *next;
};

/* How the state stands. */
enum standing { STATE_OK, STATE_MISSING, STATE_BROKEN };

/* What the faults in force do to one call. */
struct effect {
    int answers;              /* whether the call answers `answer` at once */
    unsigned answer;
    long truncate;            /* longest text, or -1 */
    const char *bytes;        /* text as hexadecimal digits that replaces the true one, or NULL */
};

/* Takes the lock, reads the state if it changed, and lets the faults for `call` happen: they may
 * sleep, hang or end this process. `gpu` is a position in the state's list, or -1.
 * `sim_leave` must follow. */
enum standing sim_enter(const char *call, int gpu, struct effect *effect);
void sim_leave(void);

/* Reads the state without any fault; for what must not be disturbed. `sim_leave` must follow. */
enum standing sim_look(void);

/* Between enter and leave: the value at a dotted path, or NULL when it is null or absent. Where a
 * fault in force puts another value there, that one. `gpu` -1 starts at the root. */
const struct json *sim_get(int gpu, const char *path);
const struct json *json_at(const struct json *from, const char *path);
/* Whether the kernel module is loaded: the state says so, and on a node there is its device file,
 * which appears when the node has the module's package and has started since. */
int sim_module_loaded(void);
int json_length(const struct json *list);

/* A value as a number; one that grows, {"start", "per_s", "since"}, as it stands now.
 * Return 0 when it is none. */
int json_unsigned(const struct json *value, unsigned long long *out);
int json_signed(const struct json *value, long long *out);
int json_double(const struct json *value, double *out);
const char *json_text(const struct json *value);

#endif
