/* SPDX-License-Identifier: Apache-2.0
 * The state document, its values and its faults. See sim.h.
 */
#define _GNU_SOURCE
#include "sim.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define MAX_BYTES (16u << 20)
#define MAX_DEPTH 32
#define BLOCK 512
#define MAX_FAULTS 256

/* ---- JSON -------------------------------------------------------------------------------- */

struct block {
    struct block *next;
    int used;
    struct json values[BLOCK];
};

struct document {
    char *bytes;
    struct block *blocks;
    struct json *root;
};

struct reader {
    char *at;
    struct document *document;
};

static struct json *new_value(struct document *document)
{
    if (!document->blocks || document->blocks->used == BLOCK) {
        struct block *block = calloc(1, sizeof *block);
        if (!block)
            return NULL;
        block->next = document->blocks;
        document->blocks = block;
    }
    return &document->blocks->values[document->blocks->used++];
}

static void forget(struct document *document)
{
    while (document->blocks) {
        struct block *next = document->blocks->next;
        free(document->blocks);
        document->blocks = next;
    }
    free(document->bytes);
    memset(document, 0, sizeof *document);
}

static void skip_space(struct reader *in)
{
    in->at += strspn(in->at, " \t\r\n");
}

static int hex4(const char *at, unsigned *code)
{
    char digits[5] = {0}, *end;
    strncpy(digits, at, 4);
    *code = (unsigned)strtoul(digits, &end, 16);
    return end == digits + 4;
}

static char *put_utf8(char *to, unsigned code)
{
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3f));
    } else {
        *to++ = (char)(0xe0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    }
    return to;
}

/* Reads a string in place; the result is never longer than what was written. */
static char *read_text(struct reader *in)
{
    static const char plain[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    char *start = in->at + 1, *to = start, *from = start;
    if (*in->at != '"')
        return NULL;
    while (*from && *from != '"') {
        const char *found;
        unsigned code;
        if (*from != '\\') {
            *to++ = *from++;
        } else if (from[1] && (found = strchr(plain, from[1]))) {
            *to++ = meant[found - plain];
            from += 2;
        } else if (from[1] == 'u' && hex4(from + 2, &code)) {
            to = put_utf8(to, code);
            from += 6;
        } else {
            return NULL;
        }
    }
    if (*from != '"')
        return NULL;
    in->at = from + 1;
    *to = 0;
    return start;
}

static struct json *read_value(struct reader *in, int depth);

static int read_members(struct reader *in, struct json *into, int depth)
{
    char close = into->kind == IS_MAP ? '}' : ']';
    struct json **tail = &into->first;
    in->at++;
    skip_space(in);
    if (*in->at == close) {
        in->at++;
        return 1;
    }
    for (;;) {
        char *key = NULL;
        skip_space(in);
        if (into->kind == IS_MAP) {
            key = read_text(in);
            skip_space(in);
            if (!key || *in->at++ != ':')
                return 0;
        }
        *tail = read_value(in, depth + 1);
        if (!*tail)
            return 0;
        (*tail)->key = key;
        tail = &(*tail)->next;
        skip_space(in);
        if (*in->at == close) {
            in->at++;
            return 1;
        }
        if (*in->at++ != ',')
            return 0;
    }
}

static int read_number(struct reader *in, struct json *into)
{
    char *end;
    into->kind = IS_NUMBER;
    into->negative = *in->at == '-';
    into->number = strtod(in->at, &end);
    if (end == in->at || !isfinite(into->number))
        return 0;
    if (strcspn(in->at, ".eE") >= (size_t)(end - in->at))
        into->whole = strtoull(in->at + into->negative, NULL, 10);
    else
        into->whole = (unsigned long long)fabs(into->number);
    in->at = end;
    return 1;
}

static int read_word(struct reader *in, struct json *into)
{
    static const struct { const char *word; enum kind kind; } words[] = {
        {"null", IS_NULL}, {"true", IS_TRUE}, {"false", IS_FALSE}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t length = strlen(words[i].word);
        if (!strncmp(in->at, words[i].word, length)) {
            into->kind = words[i].kind;
            in->at += length;
            return 1;
        }
    }
    return 0;
}

static struct json *read_value(struct reader *in, int depth)
{
    struct json *value = depth < MAX_DEPTH ? new_value(in->document) : NULL;
    int ok;
    if (!value)
        return NULL;
    skip_space(in);
    switch (*in->at) {
    case '{':
    case '[':
        value->kind = *in->at == '{' ? IS_MAP : IS_LIST;
        ok = read_members(in, value, depth);
        break;
    case '"':
        value->kind = IS_TEXT;
        value->text = read_text(in);
        ok = value->text != NULL;
        break;
    case '-':
    case '0' ... '9':
        ok = read_number(in, value);
        break;
    default:
        ok = read_word(in, value);
    }
    return ok ? value : NULL;
}

static const struct json *member(const struct json *of, const char *name, size_t length)
{
    if (of->kind == IS_LIST) {
        char *end;
        long index = strtol(name, &end, 10);
        const struct json *one = end == name + length ? of->first : NULL;
        while (one && index-- > 0)
            one = one->next;
        return one;
    }
    if (of->kind == IS_MAP)
        for (const struct json *one = of->first; one; one = one->next)
            if (!strncmp(one->key, name, length) && !one->key[length])
                return one;
    return NULL;
}

const struct json *json_at(const struct json *from, const char *path)
{
    while (from && *path) {
        size_t length = strcspn(path, ".");
        from = member(from, path, length);
        path += length + (path[length] == '.');
    }
    return from && from->kind != IS_NULL ? from : NULL;
}

int json_length(const struct json *list)
{
    int count = 0;
    for (const struct json *one = list ? list->first : NULL; one; one = one->next)
        count++;
    return count;
}

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

int json_double(const struct json *value, double *out)
{
    double start, per_s, since;
    if (!value)
        return 0;
    switch (value->kind) {
    case IS_FALSE:
    case IS_TRUE:
        *out = value->kind == IS_TRUE;
        return 1;
    case IS_NUMBER:
        *out = value->number;
        return 1;
    case IS_MAP:
        if (!json_double(json_at(value, "start"), &start) ||
            !json_double(json_at(value, "per_s"), &per_s) ||
            !json_double(json_at(value, "since"), &since))
            return 0;
        *out = floor(start + per_s * fmax(0, now() - since));
        return 1;
    default:
        return 0;
    }
}

int json_unsigned(const struct json *value, unsigned long long *out)
{
    double real;
    if (value && value->kind == IS_NUMBER && !value->negative) {
        *out = value->whole;
        return 1;
    }
    if (!json_double(value, &real))
        return 0;
    *out = real < 0 ? (unsigned long long)(long long)real : (unsigned long long)real;
    return 1;
}

int json_signed(const struct json *value, long long *out)
{
    double real;
    if (value && value->kind == IS_NUMBER) {
        *out = value->negative ? -(long long)value->whole : (long long)value->whole;
        return 1;
    }
    if (!json_double(value, &real))
        return 0;
    *out = (long long)real;
    return 1;
}

const char *json_text(const struct json *value)
{
    return value && value->kind == IS_TEXT ? value->text : NULL;
}

/* ---- the state file ---------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct document current;
static struct stat known;
static enum standing standing = STATE_MISSING;

static int same(const struct stat *one, const struct stat *other)
{
    return one->st_ino == other->st_ino && one->st_dev == other->st_dev &&
           one->st_size == other->st_size && one->st_mtim.tv_sec == other->st_mtim.tv_sec &&
           one->st_mtim.tv_nsec == other->st_mtim.tv_nsec;
}

static char *read_whole(const char *path, struct stat *info)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    char *bytes = NULL;
    size_t have = 0;
    if (file < 0)
        return NULL;
    if (!fstat(file, info) && info->st_size >= 0 && info->st_size < (off_t)MAX_BYTES)
        bytes = malloc((size_t)info->st_size + 1);
    while (bytes && have < (size_t)info->st_size) {
        ssize_t got = read(file, bytes + have, (size_t)info->st_size - have);
        if (got <= 0)
            break;
        have += (size_t)got;
    }
    if (bytes)
        bytes[have] = 0;
    close(file);
    return bytes;
}

static void refresh(void)
{
    const char *path = getenv(STATE_VARIABLE);
    struct document fresh = {0};
    struct reader in;
    struct stat info;
    if (!path || !*path)
        path = STATE_FILE;
    if (stat(path, &info)) {
        forget(&current);
        memset(&known, 0, sizeof known);
        standing = STATE_MISSING;
        return;
    }
    if (standing != STATE_MISSING && same(&info, &known))
        return;
    fresh.bytes = read_whole(path, &info);
    if (fresh.bytes) {
        in.at = fresh.bytes;
        in.document = &fresh;
        fresh.root = read_value(&in, 0);
        if (fresh.root) {
            skip_space(&in);
            if (*in.at)
                fresh.root = NULL;
        }
    }
    forget(&current);
    current = fresh;
    known = info;
    standing = fresh.root ? STATE_OK : STATE_BROKEN;
}

/* ---- faults ------------------------------------------------------------------------------ */

static struct { char id[64]; unsigned long long calls; } counts[MAX_FAULTS];

/* How often this process has come to the fault before, and once more from now on. */
static unsigned long long count_call(const char *id)
{
    for (int i = 0; i < MAX_FAULTS; i++) {
        if (!counts[i].id[0])
            snprintf(counts[i].id, sizeof counts[i].id, "%s", id);
        if (!strncmp(counts[i].id, id, sizeof counts[i].id - 1))
            return counts[i].calls++;
    }
    return 0;
}

/* A fault with a schedule is in force for the first `on_s` of every `every_s` seconds. */
static int in_force(const struct json *fault)
{
    double every, on, from = 0;
    if (!json_double(json_at(fault, "every_s"), &every) || every <= 0 ||
        !json_double(json_at(fault, "on_s"), &on))
        return 1;
    json_double(json_at(fault, "since"), &from);
    return fmod(now() - from, every) < on;
}

static int meant(const struct json *fault, int gpu)
{
    unsigned long long wanted;
    return !json_unsigned(json_at(fault, "gpu"), &wanted) || (int)wanted == gpu;
}

/* Signals that can be held off are; a child keeps what this process holds open even when it is
 * killed; and while it waits for that child the kernel calls this process uninterruptible. */
static void cling(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    if (vfork() == 0)
        for (;;)
            pause();
}

static void hang(double seconds, int clings)
{
    struct timespec rest = {.tv_sec = (time_t)seconds};
    rest.tv_nsec = (long)((seconds - (double)rest.tv_sec) * 1e9);
    if (clings)
        cling();
    if (seconds < 0)
        for (;;)
            pause();
    while (nanosleep(&rest, &rest))
        ;
}

static void happen(const struct json *fault)
{
    unsigned long long number;
    double seconds;
    const char *way = json_text(json_at(fault, "hang"));
    if (json_unsigned(json_at(fault, "signal"), &number)) {
        signal((int)number, SIG_DFL);
        raise((int)number);
    }
    if (way) {
        if (!json_double(json_at(fault, "hang_s"), &seconds))
            seconds = -1;
        pthread_mutex_unlock(&lock);
        hang(seconds, !strcmp(way, "unkillable"));
        pthread_mutex_lock(&lock);
    }
}

static void note(const struct json *fault, struct effect *effect)
{
    unsigned long long number;
    const char *bytes = json_text(json_at(fault, "bytes"));
    if (!effect->answers && json_unsigned(json_at(fault, "answer"), &number)) {
        effect->answers = 1;
        effect->answer = (unsigned)number;
    }
    if (json_unsigned(json_at(fault, "truncate"), &number))
        effect->truncate = (long)number;
    if (bytes)
        effect->bytes = bytes;
}

/* Whether the fault is for this call, and its turn has come. */
static int strikes(const struct json *fault, const char *call, int gpu)
{
    unsigned long long number, before;
    const char *pattern = json_text(json_at(fault, "call")), *id = json_text(json_at(fault, "id"));
    if (!pattern || fnmatch(pattern, call, 0) || !meant(fault, gpu) || !in_force(fault))
        return 0;
    before = count_call(id ? id : pattern);
    if (json_unsigned(json_at(fault, "after"), &number)) {
        if (before < number)
            return 0;
        before -= number;
    }
    return !json_unsigned(json_at(fault, "times"), &number) || before < number;
}

enum standing sim_look(void)
{
    pthread_mutex_lock(&lock);
    refresh();
    return standing;
}

enum standing sim_enter(const char *call, int gpu, struct effect *effect)
{
    const struct json *faults, *waits = NULL;
    *effect = (struct effect){.truncate = -1};
    if (sim_look() != STATE_OK)
        return standing;
    faults = json_at(current.root, "faults");
    for (const struct json *one = faults ? faults->first : NULL; one; one = one->next) {
        if (!strikes(one, call, gpu))
            continue;
        if (json_at(one, "hang") || json_at(one, "signal"))
            waits = one;
        note(one, effect);
    }
    if (waits) {
        /* The lock is open meanwhile, so what was noted may point into a forgotten document. */
        char kept[256] = "";
        if (effect->bytes)
            snprintf(kept, sizeof kept, "%s", effect->bytes);
        happen(waits);
        refresh();
        static char bytes[256];
        memcpy(bytes, kept, sizeof bytes);
        if (effect->bytes)
            effect->bytes = bytes;
    }
    return standing;
}

void sim_leave(void)
{
    pthread_mutex_unlock(&lock);
}

static const struct json *replaced(int gpu, const char *path, int *found)
{
    const struct json *faults = json_at(current.root, "faults");
    for (const struct json *one = faults ? faults->first : NULL; one; one = one->next) {
        const char *where = json_text(json_at(one, "path"));
        unsigned long long wanted;
        int whose = json_unsigned(json_at(one, "gpu"), &wanted) ? (int)wanted : -1;
        if (where && whose == gpu && !strcmp(where, path) && in_force(one)) {
            *found = 1;
            return json_at(one, "value");
        }
    }
    return NULL;
}

const struct json *sim_get(int gpu, const char *path)
{
    char whole[160];
    int found = 0;
    const struct json *other = replaced(gpu, path, &found);
    if (found)
        return other;
    if (gpu < 0)
        return json_at(current.root, path);
    snprintf(whole, sizeof whole, "gpus.%d.%s", gpu, path);
    return json_at(current.root, whole);
}

int sim_module_loaded(void)
{
    const char *elsewhere = getenv(STATE_VARIABLE);
    unsigned long long loaded = 0;
    json_unsigned(sim_get(-1, "module.loaded"), &loaded);
    return loaded && ((elsewhere && *elsewhere) || !access("/dev/nvidiactl", F_OK));
}
