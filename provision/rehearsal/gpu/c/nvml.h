/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the simulated NVML share. Each call is begun by ENTER and ended by LEAVE; what
 * stands between finds its answer in the state.
 */
#ifndef HOLDFAST_NVML_H
#define HOLDFAST_NVML_H

#define _GNU_SOURCE
#include "sim.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#ifndef SIMULATED_VERSION
#define SIMULATED_VERSION "580.105.08"
#endif

typedef unsigned ret_t;
typedef unsigned long long u64;

enum {
    OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4,
    NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, NOT_LOADED = 9, TIMEOUT = 10, MISMATCH = 18,
    WRONG_VERSION = 25, UNKNOWN = 999
};

#define MAX_GPUS 64
#define MAX_MIG 8

/* A handle is a place in this table: its GPU's position in the state, and the MIG device or -1. */
struct handle { int gpu, mig; };
typedef struct handle *dev_t_;

struct pci {
    char legacy[16];
    unsigned domain, bus, device, id, subsystem;
    char address[32];
};

/* How often the library was initialised, less how often it was shut down. */
extern int initialised;

/* nvml.c */
dev_t_ handle_of(int gpu, int mig);
int is_handle(const struct handle *dev);
ret_t from_standing(enum standing how);
ret_t enter(const char *call, int gpu, struct effect *effect);
ret_t enter_device(const char *call, dev_t_ dev, struct effect *effect);
const struct json *value_of(dev_t_ dev, const char *path);
ret_t get_u64(dev_t_ dev, const char *path, u64 *out);
ret_t get_u32(dev_t_ dev, const char *path, unsigned *out);
ret_t get_int(dev_t_ dev, const char *path, int *out);
u64 or_zero(dev_t_ dev, const char *path);
size_t from_hex(const char *digits, char *out, size_t room);
ret_t give_text(const struct json *value, char *out, unsigned size, struct effect *effect);
ret_t get_choice(dev_t_ dev, const char *prefix, const char *const *names, size_t count,
                 unsigned which, unsigned *out);
ret_t give_pci(const struct json *from, struct pci *out);

/* nvml_memory.c */
ret_t ecc_at(dev_t_ dev, unsigned type, unsigned counter, unsigned where, u64 *out);
ret_t ecc_total(dev_t_ dev, unsigned type, unsigned counter, u64 *out);

/* nvml_links.c */
ret_t link_path(dev_t_ dev, unsigned link, const char *name, char *path, size_t size);

#define ENTER(dev)                                       \
    struct effect effect;                                \
    ret_t ret = enter_device(__func__, dev, &effect)

#define LEAVE            \
    do {                 \
        sim_leave();     \
        return ret;      \
    } while (0)

/* ---- families of calls ------------------------------------------------------------------- */

#define UINT(call, path)                                  \
    API ret_t call(dev_t_ dev, unsigned *out)             \
    {                                                     \
        ENTER(dev);                                       \
        if (!ret)                                         \
            ret = out ? get_u32(dev, path, out) : INVALID_ARGUMENT; \
        LEAVE;                                            \
    }

#define WIDE(call, path)                                  \
    API ret_t call(dev_t_ dev, u64 *out)                  \
    {                                                     \
        ENTER(dev);                                       \
        if (!ret)                                         \
            ret = out ? get_u64(dev, path, out) : INVALID_ARGUMENT; \
        LEAVE;                                            \
    }

#define PAIR(call, first, second)                         \
    API ret_t call(dev_t_ dev, unsigned *one, unsigned *other) \
    {                                                     \
        ENTER(dev);                                       \
        if (!ret)                                         \
            ret = one && other ? OK : INVALID_ARGUMENT;   \
        if (!ret)                                         \
            ret = get_u32(dev, first, one);               \
        if (!ret)                                         \
            ret = get_u32(dev, second, other);            \
        LEAVE;                                            \
    }

#define TEXT(call, path)                                  \
    API ret_t call(dev_t_ dev, char *out, unsigned size)  \
    {                                                     \
        ENTER(dev);                                       \
        if (!ret)                                         \
            ret = give_text(value_of(dev, path), out, size, &effect); \
        LEAVE;                                            \
    }

/* One of several values, chosen by a number; a number beyond them is an invalid argument. */
#define CHOICE(call, prefix, ...)                         \
    API ret_t call(dev_t_ dev, unsigned which, unsigned *out) \
    {                                                     \
        static const char *const names[] = {__VA_ARGS__}; \
        ENTER(dev);                                       \
        if (!ret)                                         \
            ret = get_choice(dev, prefix, names, sizeof names / sizeof *names, which, out); \
        LEAVE;                                            \
    }

#endif
