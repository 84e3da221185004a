/* SPDX-License-Identifier: Apache-2.0
 *
 * A simulation of NVML for rehearsals: no part of it comes from NVIDIA, and no GPU is behind it.
 * Names, arguments and struct layouts are those that nvidia-ml-py declares; every answer comes from
 * the state document (sim.h). A value that is null there answers "not supported".
 */
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

static struct handle handles[MAX_GPUS][MAX_MIG + 1];
static int initialised;

static dev_t_ handle_of(int gpu, int mig)
{
    struct handle *one = &handles[gpu][mig + 1];
    one->gpu = gpu;
    one->mig = mig;
    return one;
}

static int is_handle(const struct handle *dev)
{
    return dev >= &handles[0][0] && dev <= &handles[MAX_GPUS - 1][MAX_MIG];
}

/* ---- entering a call --------------------------------------------------------------------- */

static ret_t from_standing(enum standing how)
{
    return how == STATE_OK ? OK : how == STATE_MISSING ? NOT_LOADED : UNKNOWN;
}

static int for_root_only(const char *call)
{
    const struct json *list = sim_get(-1, "driver.root_only");
    for (const struct json *one = list ? list->first : NULL; one; one = one->next)
        if (json_text(one) && !strcmp(json_text(one), call))
            return 1;
    return 0;
}

/* Begins a call: OK when it shall go on and find its answer. sim_leave must follow. */
static ret_t enter(const char *call, int gpu, struct effect *effect)
{
    ret_t ret = from_standing(sim_enter(call, gpu, effect));
    if (ret)
        return ret;
    if (effect->answers)
        return effect->answer;
    if (!initialised)
        return UNINITIALIZED;
    return for_root_only(call) && geteuid() ? NO_PERMISSION : OK;
}

static ret_t enter_device(const char *call, dev_t_ dev, struct effect *effect)
{
    ret_t ret = enter(call, is_handle(dev) ? dev->gpu : -1, effect);
    if (ret || is_handle(dev))
        return ret;
    return INVALID_ARGUMENT;
}

#define ENTER(dev)                                       \
    struct effect effect;                                \
    ret_t ret = enter_device(__func__, dev, &effect)

#define LEAVE            \
    do {                 \
        sim_leave();     \
        return ret;      \
    } while (0)

/* ---- values ------------------------------------------------------------------------------ */

static const struct json *value_of(dev_t_ dev, const char *path)
{
    char whole[128];
    if (dev->mig < 0)
        return sim_get(dev->gpu, path);
    snprintf(whole, sizeof whole, "mig.devices.%d.%s", dev->mig, path);
    return sim_get(dev->gpu, whole);
}

static ret_t get_u64(dev_t_ dev, const char *path, u64 *out)
{
    return json_unsigned(value_of(dev, path), out) ? OK : NOT_SUPPORTED;
}

static ret_t get_u32(dev_t_ dev, const char *path, unsigned *out)
{
    u64 wide;
    ret_t ret = get_u64(dev, path, &wide);
    if (!ret)
        *out = wide > UINT32_MAX ? UINT32_MAX : (unsigned)wide;
    return ret;
}

static ret_t get_int(dev_t_ dev, const char *path, int *out)
{
    long long wide;
    if (!json_signed(value_of(dev, path), &wide))
        return NOT_SUPPORTED;
    *out = (int)wide;
    return OK;
}

/* Numbers that a struct has beside the one that decides whether the call is supported. */
static u64 or_zero(dev_t_ dev, const char *path)
{
    u64 found = 0;
    get_u64(dev, path, &found);
    return found;
}

static size_t from_hex(const char *digits, char *out, size_t room)
{
    size_t length = 0;
    unsigned byte;
    while (length < room && sscanf(digits + 2 * length, "%2x", &byte) == 1)
        out[length++] = (char)byte;
    return length;
}

static ret_t give_text(const struct json *value, char *out, unsigned size, struct effect *effect)
{
    const char *text = json_text(value);
    char other[256];
    size_t length;
    if (!text)
        return NOT_SUPPORTED;
    if (!out || !size)
        return INVALID_ARGUMENT;
    length = strlen(text);
    if (effect->bytes) {
        length = from_hex(effect->bytes, other, sizeof other);
        text = other;
    }
    if (effect->truncate >= 0 && (size_t)effect->truncate < length)
        length = (size_t)effect->truncate;
    if (length + 1 > size)
        return INSUFFICIENT_SIZE;
    memcpy(out, text, length);
    out[length] = 0;
    return OK;
}

/* A text of a struct, as a fault wants it. */
static void garble(char *text, size_t room, const struct effect *effect)
{
    if (effect->bytes)
        text[from_hex(effect->bytes, text, room - 1)] = 0;
    if (effect->truncate >= 0 && (size_t)effect->truncate < strlen(text))
        text[effect->truncate] = 0;
}

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

static ret_t get_choice(dev_t_ dev, const char *prefix, const char *const *names, size_t count,
                        unsigned which, unsigned *out)
{
    char path[96];
    if (!out || which >= count)
        return INVALID_ARGUMENT;
    if (!names[which])
        return NOT_SUPPORTED;
    snprintf(path, sizeof path, "%s.%s", prefix, names[which]);
    return get_u32(dev, path, out);
}

/* ---- library and system ------------------------------------------------------------------ */

static ret_t start(void)
{
    const char *library = json_text(sim_get(-1, "library.version"));
    const char *module = json_text(sim_get(-1, "module.version"));
    if (!sim_module_loaded())
        return NOT_LOADED;
    if (module && strcmp(module, library ? library : SIMULATED_VERSION))
        return MISMATCH;
    return OK;
}

static ret_t init(const char *call)
{
    struct effect effect;
    ret_t ret = from_standing(sim_enter(call, -1, &effect));
    if (!ret)
        ret = effect.answers ? effect.answer : start();
    initialised += !ret;
    LEAVE;
}

API ret_t nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    return init(__func__);
}

API ret_t nvmlInit_v2(void)
{
    return init(__func__);
}

API ret_t nvmlShutdown(void)
{
    struct effect effect;
    ret_t ret = enter(__func__, -1, &effect);
    initialised -= !ret;
    LEAVE;
}

API const char *nvmlErrorString(ret_t code)
{
    static const struct { ret_t code; const char *says; } table[] = {
        {0, "Success"}, {1, "Uninitialized"}, {2, "Invalid Argument"}, {3, "Not Supported"},
        {4, "Insufficient Permissions"}, {5, "Already Initialized"}, {6, "Not Found"},
        {7, "Insufficient Size"}, {8, "Insufficient External Power"}, {9, "Driver Not Loaded"},
        {10, "Timeout"}, {11, "Interrupt Request Issue"}, {12, "NVML Shared Library Not Found"},
        {13, "Function Not Found"}, {14, "Corrupted infoROM"}, {15, "GPU is lost"},
        {16, "GPU requires reset"}, {17, "Blocked by the operating system"},
        {18, "Driver/library version mismatch"}, {19, "In use by another client"},
        {20, "Insufficient Memory"}, {21, "No data"}, {25, "Argument version mismatch"},
        {26, "Deprecated"}, {27, "Not ready"}, {28, "GPU not found"}, {29, "Invalid state"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].code == code)
            return table[i].says;
    return "Unknown Error";
}

#define SYSTEM_TEXT(call, path, fallback)                 \
    API ret_t call(char *out, unsigned size)              \
    {                                                     \
        struct effect effect;                             \
        ret_t ret = enter(__func__, -1, &effect);         \
        struct json own = {.kind = IS_TEXT, .text = fallback}; \
        const struct json *value = ret ? NULL : sim_get(-1, path); \
        if (!ret)                                         \
            ret = give_text(value ? value : &own, out, size, &effect); \
        LEAVE;                                            \
    }

SYSTEM_TEXT(nvmlSystemGetDriverVersion, "module.version", SIMULATED_VERSION)
SYSTEM_TEXT(nvmlSystemGetNVMLVersion, "library.nvml", "13." SIMULATED_VERSION)

static ret_t system_int(const char *call, const char *path, int *out)
{
    struct effect effect;
    ret_t ret = enter(call, -1, &effect);
    long long found;
    if (!ret)
        ret = !out ? INVALID_ARGUMENT
              : json_signed(sim_get(-1, path), &found) ? OK : NOT_SUPPORTED;
    if (!ret)
        *out = (int)found;
    LEAVE;
}

API ret_t nvmlSystemGetCudaDriverVersion(int *out)
{
    return system_int(__func__, "driver.cuda", out);
}

API ret_t nvmlSystemGetCudaDriverVersion_v2(int *out)
{
    return system_int(__func__, "driver.cuda", out);
}

struct branch { unsigned version; char branch[80]; };

API ret_t nvmlSystemGetDriverBranch(struct branch *out, unsigned size)
{
    struct effect effect;
    ret_t ret = enter(__func__, -1, &effect);
    if (!ret)
        ret = out->version == (1u << 24 | sizeof *out) ? OK : WRONG_VERSION;
    if (!ret)
        ret = give_text(sim_get(-1, "driver.branch"), out->branch,
                        size < sizeof out->branch ? size : sizeof out->branch, &effect);
    LEAVE;
}

API ret_t nvmlSystemGetConfComputeState(unsigned out[3])
{
    struct effect effect;
    ret_t ret = enter(__func__, -1, &effect);
    u64 on = 0;
    if (!ret)
        ret = json_unsigned(sim_get(-1, "driver.confidential"), &on) ? OK : NOT_SUPPORTED;
    if (!ret) {
        out[0] = on ? 2 : 0;
        out[1] = (unsigned)on;
        out[2] = 0;
    }
    LEAVE;
}

static const struct json *process(unsigned pid)
{
    const struct json *gpus = sim_get(-1, "gpus");
    u64 found;
    for (const struct json *gpu = gpus ? gpus->first : NULL; gpu; gpu = gpu->next) {
        const struct json *list = json_at(gpu, "processes");
        for (const struct json *one = list ? list->first : NULL; one; one = one->next)
            if (json_unsigned(json_at(one, "pid"), &found) && found == pid)
                return one;
    }
    return NULL;
}

API ret_t nvmlSystemGetProcessName(unsigned pid, char *out, unsigned size)
{
    struct effect effect;
    ret_t ret = enter(__func__, -1, &effect);
    const struct json *one = ret ? NULL : process(pid);
    if (!ret)
        ret = one ? give_text(json_at(one, "name"), out, size, &effect) : NOT_FOUND;
    LEAVE;
}

/* ---- finding GPUs ------------------------------------------------------------------------ */

static int is_enumerated(int gpu)
{
    u64 yes = 0;
    json_unsigned(sim_get(gpu, "enumerated"), &yes);
    return yes != 0;
}

static int gpu_count(void)
{
    int count = json_length(sim_get(-1, "gpus"));
    return count < MAX_GPUS ? count : MAX_GPUS;
}

/* The position in the state of NVML's GPU `index`, or -1. */
static int position(unsigned index)
{
    for (int gpu = 0; gpu < gpu_count(); gpu++)
        if (is_enumerated(gpu) && !index--)
            return gpu;
    return -1;
}

API ret_t nvmlDeviceGetCount_v2(unsigned *out)
{
    struct effect effect;
    ret_t ret = enter(__func__, -1, &effect);
    if (!ret) {
        *out = 0;
        while (position(*out) >= 0)
            ++*out;
    }
    LEAVE;
}

API ret_t nvmlDeviceGetHandleByIndex_v2(unsigned index, dev_t_ *out)
{
    struct effect effect;
    int gpu = sim_look() == STATE_OK ? position(index) : -1;
    ret_t ret;
    sim_leave();
    ret = enter(__func__, gpu, &effect);
    if (!ret)
        ret = gpu < 0 ? INVALID_ARGUMENT : OK;
    if (!ret)
        *out = handle_of(gpu, -1);
    LEAVE;
}

static int same_bus(const char *one, const char *other)
{
    unsigned a[4], b[4];
    return sscanf(one, "%x:%x:%x.%x", a, a + 1, a + 2, a + 3) == 4 &&
           sscanf(other, "%x:%x:%x.%x", b, b + 1, b + 2, b + 3) == 4 && !memcmp(a, b, sizeof a);
}

static ret_t by_text(const char *call, const char *path, const char *wanted, dev_t_ *out)
{
    struct effect effect;
    int gpu = -1;
    ret_t ret;
    if (sim_look() == STATE_OK && wanted)
        for (int one = 0; one < gpu_count() && gpu < 0; one++) {
            const char *text = is_enumerated(one) ? json_text(sim_get(one, path)) : NULL;
            if (text && (!strcmp(text, wanted) || same_bus(text, wanted)))
                gpu = one;
        }
    sim_leave();
    ret = enter(call, gpu, &effect);
    if (!ret)
        ret = !wanted ? INVALID_ARGUMENT : gpu < 0 ? NOT_FOUND : OK;
    if (!ret)
        *out = handle_of(gpu, -1);
    LEAVE;
}

API ret_t nvmlDeviceGetHandleByUUID(const char *uuid, dev_t_ *out)
{
    return by_text(__func__, "uuid", uuid, out);
}

API ret_t nvmlDeviceGetHandleByPciBusId_v2(const char *bus, dev_t_ *out)
{
    return by_text(__func__, "pci.address", bus, out);
}

API ret_t nvmlDeviceGetHandleBySerial(const char *serial, dev_t_ *out)
{
    return by_text(__func__, "serial", serial, out);
}

API ret_t nvmlDeviceGetIndex(dev_t_ dev, unsigned *out)
{
    ENTER(dev);
    if (!ret) {
        *out = 0;
        for (int gpu = 0; gpu < dev->gpu; gpu++)
            *out += (unsigned)is_enumerated(gpu);
    }
    LEAVE;
}

/* ---- identity ---------------------------------------------------------------------------- */

TEXT(nvmlDeviceGetName, "name")
TEXT(nvmlDeviceGetUUID, "uuid")
TEXT(nvmlDeviceGetSerial, "serial")
TEXT(nvmlDeviceGetBoardPartNumber, "part_number")
UINT(nvmlDeviceGetMinorNumber, "minor")
UINT(nvmlDeviceGetModuleId, "module_id")
UINT(nvmlDeviceGetBoardId, "board_id")
UINT(nvmlDeviceGetBrand, "brand")
UINT(nvmlDeviceGetArchitecture, "architecture")
UINT(nvmlDeviceGetNumGpuCores, "cores")
PAIR(nvmlDeviceGetCudaComputeCapability, "compute.0", "compute.1")

API ret_t nvmlDeviceGetNumaNodeId(dev_t_ dev, int *out)
{
    ENTER(dev);
    if (!ret)
        ret = get_int(dev, "pci.numa", out);
    LEAVE;
}

API ret_t nvmlDeviceGetMemoryAffinity(dev_t_ dev, unsigned size, u64 *out, unsigned scope)
{
    unsigned node;
    ENTER(dev);
    (void)scope;
    if (!ret)
        ret = out && size ? get_u32(dev, "pci.numa", &node) : INVALID_ARGUMENT;
    if (!ret)
        ret = node / 64 < size ? OK : INSUFFICIENT_SIZE;
    if (!ret) {
        memset(out, 0, size * sizeof *out);
        out[node / 64] = 1ull << node % 64;
    }
    LEAVE;
}

struct pci {
    char legacy[16];
    unsigned domain, bus, device, id, subsystem;
    char address[32];
};

static ret_t give_pci(const struct json *from, struct pci *out)
{
    unsigned at[4];
    u64 device = 0, subsystem = 0;
    const char *text = json_text(json_at(from, "address"));
    if (!text || sscanf(text, "%x:%x:%x.%x", at, at + 1, at + 2, at + 3) != 4)
        return NOT_SUPPORTED;
    json_unsigned(json_at(from, "device"), &device);
    json_unsigned(json_at(from, "subsystem"), &subsystem);
    memset(out, 0, sizeof *out);
    snprintf(out->legacy, sizeof out->legacy, "%04X:%02X:%02X.%X", at[0] & 0xffff, at[1] & 0xff,
             at[2] & 0xff, at[3] & 0xf);
    snprintf(out->address, sizeof out->address, "%08X:%02X:%02X.%X", at[0], at[1] & 0xff,
             at[2] & 0xff, at[3] & 0xf);
    out->domain = at[0];
    out->bus = at[1];
    out->device = at[2];
    out->id = (unsigned)device << 16 | 0x10de;
    out->subsystem = (unsigned)subsystem << 16 | 0x10de;
    return OK;
}

API ret_t nvmlDeviceGetPciInfo_v3(dev_t_ dev, struct pci *out)
{
    ENTER(dev);
    if (!ret)
        ret = out ? give_pci(sim_get(dev->gpu, "pci"), out) : INVALID_ARGUMENT;
    if (!ret)
        garble(out->address, sizeof out->address, &effect);
    LEAVE;
}

struct pci_ext {
    unsigned version, domain, bus, device, id, subsystem, class_, subclass;
    char address[32];
};

API ret_t nvmlDeviceGetPciInfoExt(dev_t_ dev, struct pci_ext *out)
{
    struct pci plain;
    ENTER(dev);
    if (!ret)
        ret = out->version == (1u << 24 | sizeof *out) ? give_pci(sim_get(dev->gpu, "pci"), &plain)
                                                       : WRONG_VERSION;
    if (!ret) {
        out->domain = plain.domain;
        out->bus = plain.bus;
        out->device = plain.device;
        out->id = plain.id;
        out->subsystem = plain.subsystem;
        out->class_ = 3;
        out->subclass = 2;
        memcpy(out->address, plain.address, sizeof out->address);
    }
    LEAVE;
}

struct attributes {
    unsigned processors, copy, decoders, encoders, jpeg, ofa, gpu_slices, compute_slices;
    u64 memory_mb;
};

API ret_t nvmlDeviceGetAttributes_v2(dev_t_ dev, struct attributes *out)
{
    ENTER(dev);
    if (!ret && dev->mig < 0)
        ret = NOT_SUPPORTED;
    if (!ret) {
        memset(out, 0, sizeof *out);
        ret = get_u32(dev, "processors", &out->processors);
        out->gpu_slices = (unsigned)or_zero(dev, "slices");
        out->compute_slices = (unsigned)or_zero(dev, "slices");
        out->memory_mb = or_zero(dev, "memory.total") >> 20;
    }
    LEAVE;
}

/* ---- firmware and modes ------------------------------------------------------------------ */

TEXT(nvmlDeviceGetVbiosVersion, "firmware.vbios")
TEXT(nvmlDeviceGetInforomImageVersion, "firmware.inforom_image")
UINT(nvmlDeviceGetInforomConfigurationChecksum, "firmware.inforom_checksum")

API ret_t nvmlDeviceGetInforomVersion(dev_t_ dev, unsigned which, char *out, unsigned size)
{
    static const char *const paths[] = {"firmware.inforom_oem", "firmware.inforom_ecc",
                                        "firmware.inforom_power"};
    ENTER(dev);
    if (!ret)
        ret = which < 3 ? give_text(value_of(dev, paths[which]), out, size, &effect)
                        : INVALID_ARGUMENT;
    LEAVE;
}

API ret_t nvmlDeviceValidateInforom(dev_t_ dev)
{
    unsigned valid;
    ENTER(dev);
    if (!ret)
        ret = get_u32(dev, "firmware.inforom_valid", &valid);
    if (!ret && !valid)
        ret = 14;
    LEAVE;
}

API ret_t nvmlDeviceGetGspFirmwareVersion(dev_t_ dev, char *out)
{
    ENTER(dev);
    if (!ret)
        ret = give_text(value_of(dev, "firmware.gsp"), out, 64, &effect);
    LEAVE;
}

PAIR(nvmlDeviceGetGspFirmwareMode, "firmware.gsp_enabled", "firmware.gsp_enabled")
UINT(nvmlDeviceGetPersistenceMode, "modes.persistence")
UINT(nvmlDeviceGetComputeMode, "modes.compute")
PAIR(nvmlDeviceGetEccMode, "modes.ecc", "modes.ecc_pending")
UINT(nvmlDeviceGetDefaultEccMode, "modes.ecc_default")
PAIR(nvmlDeviceGetMigMode, "modes.mig", "modes.mig_pending")
UINT(nvmlDeviceGetMaxMigDeviceCount, "mig.max_devices")

API ret_t nvmlDeviceSetPersistenceMode(dev_t_ dev, unsigned mode)
{
    unsigned now;
    ENTER(dev);
    if (!ret)
        ret = get_u32(dev, "modes.persistence", &now);
    /* The state is the caller's to change; asking for what it says succeeds. */
    if (!ret && now != mode)
        ret = NO_PERMISSION;
    LEAVE;
}

API ret_t nvmlDeviceGetMigDeviceHandleByIndex(dev_t_ dev, unsigned index, dev_t_ *out)
{
    unsigned on = 0;
    ENTER(dev);
    if (!ret && dev->mig >= 0)
        ret = INVALID_ARGUMENT;
    if (!ret)
        ret = get_u32(dev, "modes.mig", &on);
    if (!ret)
        ret = on && index < MAX_MIG && (int)index < json_length(sim_get(dev->gpu, "mig.devices"))
                  ? OK : NOT_FOUND;
    if (!ret)
        *out = handle_of(dev->gpu, (int)index);
    LEAVE;
}

API ret_t nvmlDeviceIsMigDeviceHandle(dev_t_ dev, unsigned *out)
{
    ENTER(dev);
    if (!ret)
        *out = dev->mig >= 0;
    LEAVE;
}

UINT(nvmlDeviceGetGpuInstanceId, "gpu_instance")
UINT(nvmlDeviceGetComputeInstanceId, "compute_instance")

API ret_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(dev_t_ dev, dev_t_ *out)
{
    ENTER(dev);
    if (!ret)
        ret = dev->mig >= 0 ? OK : INVALID_ARGUMENT;
    if (!ret)
        *out = handle_of(dev->gpu, -1);
    LEAVE;
}

/* ---- memory and processes ---------------------------------------------------------------- */

API ret_t nvmlDeviceGetMemoryInfo(dev_t_ dev, u64 out[3])
{
    ENTER(dev);
    if (!ret)
        ret = out ? get_u64(dev, "memory.total", &out[0]) : INVALID_ARGUMENT;
    if (!ret) {
        out[2] = or_zero(dev, "memory.used") + or_zero(dev, "memory.reserved");
        out[1] = out[0] - out[2];
    }
    LEAVE;
}

struct memory_v2 { unsigned version; u64 total, reserved, free, used; };

API ret_t nvmlDeviceGetMemoryInfo_v2(dev_t_ dev, struct memory_v2 *out)
{
    ENTER(dev);
    if (!ret)
        ret = out->version == (2u << 24 | sizeof *out) ? get_u64(dev, "memory.total", &out->total)
                                                       : WRONG_VERSION;
    if (!ret) {
        out->reserved = or_zero(dev, "memory.reserved");
        out->used = or_zero(dev, "memory.used");
        out->free = out->total - out->reserved - out->used;
    }
    LEAVE;
}

API ret_t nvmlDeviceGetBAR1MemoryInfo(dev_t_ dev, u64 out[3])
{
    ENTER(dev);
    if (!ret)
        ret = get_u64(dev, "memory.bar1_total", &out[0]);
    if (!ret) {
        out[2] = or_zero(dev, "memory.bar1_used");
        out[1] = out[0] - out[2];
    }
    LEAVE;
}

API ret_t nvmlDeviceGetUtilizationRates(dev_t_ dev, unsigned out[2])
{
    ENTER(dev);
    if (!ret)
        ret = get_u32(dev, "utilization.gpu", &out[0]);
    if (!ret)
        ret = get_u32(dev, "utilization.memory", &out[1]);
    LEAVE;
}

struct running { unsigned pid; u64 memory; unsigned gpu_instance, compute_instance; };

static ret_t give_processes(dev_t_ dev, const char *kind, unsigned *count, struct running *out)
{
    const struct json *list = sim_get(dev->gpu, "processes");
    unsigned room = *count;
    *count = 0;
    for (const struct json *one = list ? list->first : NULL; one; one = one->next) {
        const char *is = json_text(json_at(one, "kind"));
        u64 number = 0;
        if (!is || strcmp(is, kind))
            continue;
        if (out && *count < room) {
            struct running *to = &out[*count];
            json_unsigned(json_at(one, "pid"), &number);
            to->pid = (unsigned)number;
            to->memory = 0;
            json_unsigned(json_at(one, "memory"), &to->memory);
            to->gpu_instance = to->compute_instance = UINT32_MAX;
        }
        ++*count;
    }
    return *count > room ? INSUFFICIENT_SIZE : OK;
}

#define PROCESSES(call, kind)                                               \
    API ret_t call(dev_t_ dev, unsigned *count, struct running *out)        \
    {                                                                       \
        ENTER(dev);                                                         \
        if (!ret)                                                           \
            ret = give_processes(dev, kind, count, out);                    \
        LEAVE;                                                              \
    }

PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, "compute")
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, "graphics")
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3, "mps")

/* ---- ECC, remapped rows, retired pages --------------------------------------------------- */

static const char *const locations[] = {"l1", "l2", "dram", "registers", "texture", "shared",
                                        "cbu", "sram"};

static ret_t ecc_place(dev_t_ dev, unsigned type, unsigned counter, char *path, size_t size)
{
    unsigned on;
    ret_t ret = get_u32(dev, "modes.ecc", &on);
    if (type > 1 || counter > 1)
        return INVALID_ARGUMENT;
    snprintf(path, size, "ecc.%s.%s", counter ? "aggregate" : "volatile",
             type ? "uncorrected" : "corrected");
    return ret ? ret : on ? OK : NOT_SUPPORTED;
}

static ret_t ecc_at(dev_t_ dev, unsigned type, unsigned counter, unsigned where, u64 *out)
{
    char path[64], whole[96];
    ret_t ret = where < 8 ? ecc_place(dev, type, counter, path, sizeof path) : INVALID_ARGUMENT;
    if (ret)
        return ret;
    snprintf(whole, sizeof whole, "%s.%s", path, locations[where]);
    return get_u64(dev, whole, out);
}

static ret_t ecc_total(dev_t_ dev, unsigned type, unsigned counter, u64 *out)
{
    u64 one;
    ret_t ret, found = NOT_SUPPORTED;
    *out = 0;
    for (unsigned where = 0; where < 8; where++) {
        ret = ecc_at(dev, type, counter, where, &one);
        if (ret == INVALID_ARGUMENT)
            return ret;
        if (!ret) {
            *out += one;
            found = OK;
        }
    }
    return found;
}

API ret_t nvmlDeviceGetTotalEccErrors(dev_t_ dev, unsigned type, unsigned counter, u64 *out)
{
    ENTER(dev);
    if (!ret)
        ret = ecc_total(dev, type, counter, out);
    LEAVE;
}

API ret_t nvmlDeviceGetMemoryErrorCounter(dev_t_ dev, unsigned type, unsigned counter,
                                          unsigned where, u64 *out)
{
    ENTER(dev);
    if (!ret)
        ret = ecc_at(dev, type, counter, where, out);
    LEAVE;
}

API ret_t nvmlDeviceGetDetailedEccErrors(dev_t_ dev, unsigned type, unsigned counter, u64 out[4])
{
    ENTER(dev);
    for (unsigned where = 0; !ret && where < 4; where++) {
        out[where] = 0;
        ret = ecc_at(dev, type, counter, where, &out[where]);
        if (ret == NOT_SUPPORTED && where)
            ret = OK;
    }
    LEAVE;
}

struct sram {
    unsigned version;
    u64 counts[11];
    unsigned exceeded;
};

API ret_t nvmlDeviceGetSramEccErrorStatus(dev_t_ dev, struct sram *out)
{
    static const char *const names[] = {
        "aggregate_parity", "aggregate_secded", "aggregate_corrected", "volatile_parity",
        "volatile_secded", "volatile_corrected", "l2", "sm", "pcie", "mcu", "other"};
    char path[64];
    ENTER(dev);
    if (!ret)
        ret = out->version == (1u << 24 | sizeof *out)
                  ? get_u32(dev, "sram.threshold_exceeded", &out->exceeded) : WRONG_VERSION;
    for (int i = 0; !ret && i < 11; i++) {
        snprintf(path, sizeof path, "sram.%s", names[i]);
        out->counts[i] = or_zero(dev, path);
    }
    LEAVE;
}

API ret_t nvmlDeviceGetRemappedRows(dev_t_ dev, unsigned *corrected, unsigned *uncorrected,
                                    unsigned *pending, unsigned *failed)
{
    ENTER(dev);
    if (!ret)
        ret = get_u32(dev, "remapped.corrected", corrected);
    if (!ret)
        ret = get_u32(dev, "remapped.uncorrected", uncorrected);
    if (!ret)
        ret = get_u32(dev, "remapped.pending", pending);
    if (!ret)
        ret = get_u32(dev, "remapped.failed", failed);
    LEAVE;
}

API ret_t nvmlDeviceGetRemappedRows_v2(dev_t_ dev, unsigned out[6])
{
    static const char *const paths[] = {
        "remapped.corrected", "remapped.corrected_inactive", "remapped.uncorrected",
        "remapped.uncorrected_inactive", "remapped.pending", "remapped.failed"};
    ENTER(dev);
    for (int i = 0; !ret && i < 6; i++)
        ret = get_u32(dev, paths[i], &out[i]);
    LEAVE;
}

API ret_t nvmlDeviceGetRowRemapperHistogram(dev_t_ dev, unsigned out[5])
{
    static const char *const paths[] = {"remapped.banks.0", "remapped.banks.1",
                                        "remapped.banks.2", "remapped.banks.3",
                                        "remapped.banks.4"};
    ENTER(dev);
    for (int i = 0; !ret && i < 5; i++)
        ret = get_u32(dev, paths[i], &out[i]);
    LEAVE;
}

struct repair { unsigned version, channel, tpc; };

API ret_t nvmlDeviceGetRepairStatus(dev_t_ dev, struct repair *out)
{
    ENTER(dev);
    if (!ret)
        ret = out->version == (1u << 24 | sizeof *out)
                  ? get_u32(dev, "repair.channel_pending", &out->channel) : WRONG_VERSION;
    if (!ret)
        ret = get_u32(dev, "repair.tpc_pending", &out->tpc);
    LEAVE;
}

struct flagged { unsigned version, value; };

static ret_t give_flagged(dev_t_ dev, const char *path, struct flagged *out)
{
    if (out->version != (1u << 24 | sizeof *out))
        return WRONG_VERSION;
    return get_u32(dev, path, &out->value);
}

API ret_t nvmlDeviceGetUnrepairableMemoryFlag_v1(dev_t_ dev, struct flagged *out)
{
    ENTER(dev);
    if (!ret)
        ret = give_flagged(dev, "repair.unrepairable", out);
    LEAVE;
}

static ret_t give_pages(dev_t_ dev, unsigned cause, unsigned *count, u64 *pages, u64 *times)
{
    static const char *const paths[] = {"retired.single", "retired.double"};
    const struct json *list = cause < 2 ? value_of(dev, paths[cause]) : NULL;
    unsigned room = *count;
    if (cause > 1)
        return INVALID_ARGUMENT;
    if (!list)
        return NOT_SUPPORTED;
    *count = 0;
    for (const struct json *one = list->first; one; one = one->next) {
        if (pages && *count < room) {
            json_unsigned(one, &pages[*count]);
            if (times)
                times[*count] = 0;
        }
        ++*count;
    }
    return *count > room ? INSUFFICIENT_SIZE : OK;
}

API ret_t nvmlDeviceGetRetiredPages(dev_t_ dev, unsigned cause, unsigned *count, u64 *pages)
{
    ENTER(dev);
    if (!ret)
        ret = give_pages(dev, cause, count, pages, NULL);
    LEAVE;
}

API ret_t nvmlDeviceGetRetiredPages_v2(dev_t_ dev, unsigned cause, unsigned *count, u64 *pages,
                                       u64 *times)
{
    ENTER(dev);
    if (!ret)
        ret = give_pages(dev, cause, count, pages, times);
    LEAVE;
}

UINT(nvmlDeviceGetRetiredPagesPendingStatus, "retired.pending")

/* ---- heat, clocks, power ----------------------------------------------------------------- */

API ret_t nvmlDeviceGetTemperature(dev_t_ dev, unsigned sensor, unsigned *out)
{
    ENTER(dev);
    if (!ret)
        ret = sensor ? INVALID_ARGUMENT : get_u32(dev, "temperature.gpu", out);
    LEAVE;
}

struct temperature { unsigned version, sensor; int celsius; };

API ret_t nvmlDeviceGetTemperatureV(dev_t_ dev, struct temperature *out)
{
    ENTER(dev);
    if (!ret)
        ret = out->version != (1u << 24 | sizeof *out) ? WRONG_VERSION
              : out->sensor ? INVALID_ARGUMENT : get_int(dev, "temperature.gpu", &out->celsius);
    LEAVE;
}

CHOICE(nvmlDeviceGetTemperatureThreshold, "temperature", "shutdown", "slowdown", "memory_max",
       "gpu_max", NULL, NULL, NULL, NULL)

struct margin { unsigned version; int celsius; };

API ret_t nvmlDeviceGetMarginTemperature(dev_t_ dev, struct margin *out)
{
    ENTER(dev);
    if (!ret)
        ret = out->version == (1u << 24 | sizeof *out)
                  ? get_int(dev, "temperature.margin", &out->celsius) : WRONG_VERSION;
    LEAVE;
}

struct thermal { unsigned count; struct { int controller, low, high, now, target; } sensor[3]; };

API ret_t nvmlDeviceGetThermalSettings(dev_t_ dev, unsigned sensor, struct thermal *out)
{
    ENTER(dev);
    (void)sensor;
    if (!ret) {
        memset(out, 0, sizeof *out);
        ret = get_int(dev, "temperature.gpu", &out->sensor[0].now);
        out->count = 1;
        out->sensor[0].controller = 1;
        out->sensor[0].target = 1;
        get_int(dev, "temperature.shutdown", &out->sensor[0].high);
    }
    LEAVE;
}

UINT(nvmlDeviceGetFanSpeed, "fan.percent")
UINT(nvmlDeviceGetNumFans, "fan.count")

CHOICE(nvmlDeviceGetClockInfo, "clocks.current", "graphics", "sm", "memory", "video")
CHOICE(nvmlDeviceGetMaxClockInfo, "clocks.max", "graphics", "sm", "memory", "video")
CHOICE(nvmlDeviceGetApplicationsClock, "clocks.application", "graphics", "sm", "memory", "video")
CHOICE(nvmlDeviceGetDefaultApplicationsClock, "clocks.application", "graphics", "sm", "memory",
       "video")
WIDE(nvmlDeviceGetCurrentClocksEventReasons, "clocks.reasons")
WIDE(nvmlDeviceGetCurrentClocksThrottleReasons, "clocks.reasons")
WIDE(nvmlDeviceGetSupportedClocksEventReasons, "clocks.supported_reasons")
WIDE(nvmlDeviceGetSupportedClocksThrottleReasons, "clocks.supported_reasons")
UINT(nvmlDeviceGetPerformanceState, "performance_state")
UINT(nvmlDeviceGetPowerState, "performance_state")

static const char *const policies[] = {"power", "thermal", "sync_boost", "board_limit",
                                       "low_utilization", "reliability"};

API ret_t nvmlDeviceGetViolationStatus(dev_t_ dev, unsigned policy, u64 out[2])
{
    struct timespec at;
    char path[64];
    ENTER(dev);
    if (!ret && policy > 5 && policy != 10 && policy != 11)
        ret = INVALID_ARGUMENT;
    if (!ret && policy > 5)
        ret = NOT_SUPPORTED;
    if (!ret) {
        snprintf(path, sizeof path, "violations.%s", policies[policy]);
        clock_gettime(CLOCK_REALTIME, &at);
        out[0] = (u64)at.tv_sec * 1000000 + (u64)at.tv_nsec / 1000;
        ret = get_u64(dev, path, &out[1]);
    }
    LEAVE;
}

UINT(nvmlDeviceGetPowerUsage, "power.draw_mw")
UINT(nvmlDeviceGetPowerManagementMode, "power.managed")
UINT(nvmlDeviceGetPowerManagementLimit, "power.limit_mw")
UINT(nvmlDeviceGetPowerManagementDefaultLimit, "power.default_mw")
UINT(nvmlDeviceGetEnforcedPowerLimit, "power.enforced_mw")
PAIR(nvmlDeviceGetPowerManagementLimitConstraints, "power.min_mw", "power.max_mw")
WIDE(nvmlDeviceGetTotalEnergyConsumption, "power.energy_mj")

/* ---- PCI Express ------------------------------------------------------------------------- */

UINT(nvmlDeviceGetCurrPcieLinkWidth, "pci.width")
UINT(nvmlDeviceGetMaxPcieLinkWidth, "pci.max_width")
UINT(nvmlDeviceGetCurrPcieLinkGeneration, "pci.generation")
UINT(nvmlDeviceGetMaxPcieLinkGeneration, "pci.max_generation")
UINT(nvmlDeviceGetGpuMaxPcieLinkGeneration, "pci.device_generation")
UINT(nvmlDeviceGetPcieReplayCounter, "pci.counters.replays")
CHOICE(nvmlDeviceGetPcieThroughput, "pci.throughput", "sent", "received")

API ret_t nvmlDeviceGetPcieLinkMaxSpeed(dev_t_ dev, unsigned *out)
{
    ENTER(dev);
    if (!ret)
        ret = get_u32(dev, "pci.max_generation", out);
    LEAVE;
}

API ret_t nvmlDeviceGetPcieSpeed(dev_t_ dev, unsigned *out)
{
    static const unsigned mbps[] = {0, 2500, 5000, 8000, 16000, 32000, 64000};
    unsigned generation;
    ENTER(dev);
    if (!ret)
        ret = get_u32(dev, "pci.generation", &generation);
    if (!ret)
        *out = generation < 7 ? mbps[generation] : 0;
    LEAVE;
}

/* ---- NVLink, peers, fabric --------------------------------------------------------------- */

static ret_t link_path(dev_t_ dev, unsigned link, const char *name, char *path, size_t size)
{
    const struct json *links = value_of(dev, "nvlink.links");
    if (!links)
        return NOT_SUPPORTED;
    if ((int)link >= json_length(links))
        return INVALID_ARGUMENT;
    snprintf(path, size, "nvlink.links.%u.%s", link, name);
    return OK;
}

static ret_t link_u32(dev_t_ dev, unsigned link, const char *name, unsigned *out)
{
    char path[96];
    ret_t ret = link_path(dev, link, name, path, sizeof path);
    return ret ? ret : get_u32(dev, path, out);
}

API ret_t nvmlDeviceGetNvLinkState(dev_t_ dev, unsigned link, unsigned *out)
{
    ENTER(dev);
    if (!ret)
        ret = link_u32(dev, link, "state", out);
    LEAVE;
}

API ret_t nvmlDeviceGetNvLinkVersion(dev_t_ dev, unsigned link, unsigned *out)
{
    unsigned state;
    ENTER(dev);
    if (!ret)
        ret = link_u32(dev, link, "state", &state);
    if (!ret)
        ret = get_u32(dev, "nvlink.version", out);
    LEAVE;
}

API ret_t nvmlDeviceGetNvLinkCapability(dev_t_ dev, unsigned link, unsigned which, unsigned *out)
{
    unsigned state;
    ENTER(dev);
    if (!ret)
        ret = which > 5 ? INVALID_ARGUMENT : link_u32(dev, link, "state", &state);
    if (!ret)
        *out = which != 4;
    LEAVE;
}

static const char *const link_errors[] = {"replay", "recovery", "crc_flit", "crc_data", "ecc"};

API ret_t nvmlDeviceGetNvLinkErrorCounter(dev_t_ dev, unsigned link, unsigned which, u64 *out)
{
    char path[96];
    ENTER(dev);
    if (!ret)
        ret = which > 4 ? INVALID_ARGUMENT
                        : link_path(dev, link, link_errors[which], path, sizeof path);
    if (!ret)
        ret = get_u64(dev, path, out);
    LEAVE;
}

API ret_t nvmlDeviceGetNvLinkRemotePciInfo_v2(dev_t_ dev, unsigned link, struct pci *out)
{
    char path[96];
    ENTER(dev);
    if (!ret)
        ret = link_path(dev, link, "remote", path, sizeof path);
    if (!ret)
        ret = give_pci(value_of(dev, path), out);
    LEAVE;
}

API ret_t nvmlDeviceGetNvLinkRemoteDeviceType(dev_t_ dev, unsigned link, unsigned *out)
{
    ENTER(dev);
    if (!ret)
        ret = link_u32(dev, link, "remote.type", out);
    LEAVE;
}

/* Peers as the state's exceptions say, else as the node's model says for all pairs. */
static ret_t peers(int one, int other, unsigned which, unsigned *out)
{
    const struct json *list = sim_get(-1, "peers.exceptions");
    char path[32];
    u64 a, b, capability, status;
    for (const struct json *pair = list ? list->first : NULL; pair; pair = pair->next) {
        if (!json_unsigned(json_at(pair, "a"), &a) || !json_unsigned(json_at(pair, "b"), &b) ||
            !json_unsigned(json_at(pair, "capability"), &capability) ||
            !json_unsigned(json_at(pair, "status"), &status))
            continue;
        if (capability == which && (((int)a == one && (int)b == other) ||
                                    ((int)a == other && (int)b == one))) {
            *out = (unsigned)status;
            return OK;
        }
    }
    snprintf(path, sizeof path, "peers.usual.%u", which);
    if (!json_unsigned(sim_get(-1, path), &status))
        return NOT_SUPPORTED;
    *out = (unsigned)status;
    return OK;
}

API ret_t nvmlDeviceGetP2PStatus(dev_t_ dev, dev_t_ other, unsigned which, unsigned *out)
{
    ENTER(dev);
    if (!ret)
        ret = is_handle(other) && which < 5 && other->gpu != dev->gpu ? OK : INVALID_ARGUMENT;
    if (!ret)
        ret = peers(dev->gpu, other->gpu, which, out);
    LEAVE;
}

API ret_t nvmlDeviceGetTopologyCommonAncestor(dev_t_ dev, dev_t_ other, unsigned *out)
{
    unsigned one, two;
    const char *root, *root2;
    ENTER(dev);
    if (!ret)
        ret = is_handle(other) && other->gpu != dev->gpu ? OK : INVALID_ARGUMENT;
    if (!ret)
        ret = get_u32(dev, "pci.numa", &one);
    if (!ret)
        ret = get_u32(other, "pci.numa", &two);
    if (!ret) {
        root = json_text(value_of(dev, "pci.root"));
        root2 = json_text(value_of(other, "pci.root"));
        *out = one != two ? 50 : root && root2 && !strcmp(root, root2) ? 30 : 40;
    }
    LEAVE;
}

struct fabric { unsigned char cluster[16]; ret_t status; uint32_t clique; unsigned state; };
struct fabric_v2 {
    unsigned version;
    unsigned char cluster[16];
    ret_t status;
    uint32_t clique;
    unsigned state;
    uint32_t health;
};
struct fabric_v3 {
    unsigned version;
    unsigned char cluster[16];
    ret_t status;
    uint32_t clique;
    unsigned state;
    uint32_t health;
    uint8_t summary;
};

static ret_t give_fabric(dev_t_ dev, struct fabric_v3 *out)
{
    const char *cluster = json_text(value_of(dev, "fabric.cluster"));
    ret_t ret = get_u32(dev, "fabric.state", &out->state);
    memset(out->cluster, 0, sizeof out->cluster);
    if (cluster)
        from_hex(cluster, (char *)out->cluster, sizeof out->cluster);
    out->status = (ret_t)or_zero(dev, "fabric.status");
    out->clique = (uint32_t)or_zero(dev, "fabric.clique");
    out->health = (uint32_t)or_zero(dev, "fabric.health");
    out->summary = (uint8_t)or_zero(dev, "fabric.summary");
    return ret;
}

API ret_t nvmlDeviceGetGpuFabricInfo(dev_t_ dev, struct fabric *out)
{
    struct fabric_v3 whole;
    ENTER(dev);
    if (!ret)
        ret = give_fabric(dev, &whole);
    if (!ret) {
        memcpy(out->cluster, whole.cluster, sizeof out->cluster);
        out->status = whole.status;
        out->clique = whole.clique;
        out->state = whole.state;
    }
    LEAVE;
}

API ret_t nvmlDeviceGetGpuFabricInfoV(dev_t_ dev, struct fabric_v3 *out)
{
    struct fabric_v3 whole;
    size_t size = out->version == (2u << 24 | sizeof(struct fabric_v2)) ? sizeof(struct fabric_v2)
                  : out->version == (3u << 24 | sizeof *out)            ? sizeof *out : 0;
    ENTER(dev);
    if (!ret)
        ret = size ? give_fabric(dev, &whole) : WRONG_VERSION;
    if (!ret) {
        whole.version = out->version;
        memcpy(out, &whole, size);
    }
    LEAVE;
}

struct platform { unsigned version; char guid[16], chassis[16], slot, tray, host, peer, module; };

API ret_t nvmlDeviceGetPlatformInfo(dev_t_ dev, struct platform *out)
{
    const char *chassis;
    ENTER(dev);
    if (!ret)
        ret = out->version == (2u << 24 | sizeof *out) ? OK : WRONG_VERSION;
    if (!ret && !value_of(dev, "platform"))
        ret = NOT_SUPPORTED;
    if (!ret) {
        chassis = json_text(value_of(dev, "platform.chassis"));
        memset(out->guid, 0, sizeof out->guid);
        memset(out->chassis, 0, sizeof out->chassis);
        memcpy(out->chassis, chassis ? chassis : "",
               chassis ? strnlen(chassis, sizeof out->chassis) : 0);
        out->slot = (char)or_zero(dev, "platform.slot");
        out->tray = (char)or_zero(dev, "platform.tray");
        out->host = (char)or_zero(dev, "platform.host");
        out->peer = (char)or_zero(dev, "platform.peer");
        out->module = (char)or_zero(dev, "module_id");
    }
    LEAVE;
}

/* ---- field values ------------------------------------------------------------------------ */

enum { REAL = 0, U32 = 1, ULONG = 2, U64 = 3, I64 = 4, I32 = 5 };

struct field {
    uint32_t id, scope;
    int64_t timestamp, latency;
    unsigned type;
    ret_t ret;
    union { double real; unsigned u32; u64 wide; long long i64; int i32; } value;
};

/* `%u` in a path is the scope, a link. ECC counters are found by `ecc_field`. */
static const struct { uint32_t id; unsigned type; const char *path; } fields[] = {
    {1, U32, "modes.ecc"}, {2, U32, "modes.ecc_pending"}, {31, U32, "retired.pending"},
    {74, U64, "violations.power"}, {75, U64, "violations.thermal"},
    {76, U64, "violations.sync_boost"}, {77, U64, "violations.board_limit"},
    {78, U64, "violations.low_utilization"}, {79, U64, "violations.reliability"},
    {82, U32, "temperature.memory"}, {83, U64, "power.energy_mj"},
    {90, U32, "nvlink.speed_mbps"}, {94, U32, "pci.counters.replays"},
    {95, U32, "pci.counters.replay_rollovers"}, {142, U32, "remapped.corrected"},
    {143, U32, "remapped.uncorrected"}, {144, U32, "remapped.pending"},
    {145, U32, "remapped.failed"}, {161, U64, "nvlink.links.%u.replay"},
    {162, U64, "nvlink.links.%u.recovery"}, {163, U64, "nvlink.links.%u.crc_flit"},
    {164, U32, "nvlink.speed_mbps"}, {165, U32, "nvlink.links.%u.state"},
    {166, U32, "nvlink.version"}, {173, U32, "pci.counters.correctable"},
    {174, U32, "pci.counters.naks_received"}, {175, U32, "pci.counters.receiver_errors"},
    {176, U32, "pci.counters.bad_tlps"}, {177, U32, "pci.counters.naks_sent"},
    {178, U32, "pci.counters.bad_dllps"}, {179, U32, "pci.counters.non_fatal"},
    {180, U32, "pci.counters.fatal"}, {181, U32, "pci.counters.unsupported_requests"},
    {182, U32, "pci.counters.lcrc_errors"}, {183, U32, "pci.counters.lane_errors"},
    {185, U32, "power.average_mw"}, {186, U32, "power.draw_mw"}, {187, U32, "power.min_mw"},
    {188, U32, "power.max_mw"}, {189, U32, "power.default_mw"}, {190, U32, "power.limit_mw"},
    {191, U64, "power.energy_mj"}, {192, U32, "power.limit_mw"},
    {193, I32, "temperature.limits.shutdown"}, {194, I32, "temperature.limits.slowdown"},
    {195, I32, "temperature.limits.memory_max"}, {196, I32, "temperature.limits.gpu_max"},
    {230, U32, "recovery_action"}, {269, U64, "violations.sw_thermal"},
    {270, U64, "violations.hw_thermal"}, {271, U64, "violations.power_brake"},
    {301, U32, "remapped.corrected_inactive"}, {302, U32, "remapped.uncorrected_inactive"},
    {303, U32, "remapped.banks_active"}, {304, U32, "remapped.banks_inactive"},
};

#define HIGHEST_FIELD 308

/* Fields 3 to 28: corrected and uncorrected in turn, volatile before aggregate. */
static ret_t ecc_field(dev_t_ dev, uint32_t id, u64 *out)
{
    static const unsigned where[] = {0, 1, 2, 3, 4};
    if (id <= 6)
        return ecc_total(dev, (id - 3) & 1, id > 4, out);
    if (id == 17 || id == 28)
        return ecc_at(dev, 1, id == 28, 6, out);
    if (id < 17)
        return ecc_at(dev, (id - 7) & 1, 0, where[(id - 7) / 2], out);
    return ecc_at(dev, (id - 18) & 1, 1, where[(id - 18) / 2], out);
}

static ret_t set_value(struct field *field, const struct json *value, unsigned type)
{
    long long narrow;
    field->type = type;
    if (type == REAL)
        return json_double(value, &field->value.real) ? OK : NOT_SUPPORTED;
    if (type == I32 || type == I64) {
        if (!json_signed(value, &narrow))
            return NOT_SUPPORTED;
        if (type == I32)
            field->value.i32 = (int)narrow;
        else
            field->value.i64 = narrow;
        return OK;
    }
    return json_unsigned(value, &field->value.wide) ? OK : NOT_SUPPORTED;
}

static ret_t known_field(dev_t_ dev, struct field *field, size_t place)
{
    char path[96];
    const char *pattern = fields[place].path;
    const char *scope = strstr(pattern, "%u");
    if (!scope)
        return set_value(field, value_of(dev, pattern), fields[place].type);
    if (link_path(dev, field->scope, scope + 3, path, sizeof path))
        return value_of(dev, "nvlink.links") ? INVALID_ARGUMENT : NOT_SUPPORTED;
    return set_value(field, value_of(dev, path), fields[place].type);
}

/* Fields that have no place of their own in the state stand there by number. */
static ret_t other_field(dev_t_ dev, struct field *field)
{
    char path[96];
    const struct json *value;
    snprintf(path, sizeof path, "nvlink.links.%u.fields.%u", field->scope, field->id);
    value = value_of(dev, path);
    snprintf(path, sizeof path, "fields.%u", field->id);
    if (!value)
        value = value_of(dev, path);
    if (value && value->kind == IS_NUMBER && value->negative)
        return set_value(field, value, I64);
    return set_value(field, value, U64);
}

static ret_t one_field(dev_t_ dev, struct field *field)
{
    if (!field->id || field->id >= HIGHEST_FIELD)
        return INVALID_ARGUMENT;
    if (field->id >= 3 && field->id <= 28) {
        field->type = U64;
        return ecc_field(dev, field->id, &field->value.wide);
    }
    if (field->id == 29 || field->id == 30) {
        const struct json *list = value_of(dev, field->id == 29 ? "retired.single"
                                                                : "retired.double");
        field->type = U64;
        field->value.wide = (u64)json_length(list);
        return list ? OK : NOT_SUPPORTED;
    }
    if (field->id == 91) {
        const struct json *list = value_of(dev, "nvlink.links");
        field->type = U32;
        field->value.wide = (u64)json_length(list);
        return list ? OK : NOT_SUPPORTED;
    }
    for (size_t place = 0; place < sizeof fields / sizeof *fields; place++)
        if (fields[place].id == field->id)
            return known_field(dev, field, place);
    return other_field(dev, field);
}

API ret_t nvmlDeviceGetFieldValues(dev_t_ dev, int count, struct field *out)
{
    struct timespec at;
    char call[32];
    ENTER(dev);
    sim_leave();
    clock_gettime(CLOCK_REALTIME, &at);
    for (int i = 0; !ret && i < count; i++) {
        snprintf(call, sizeof call, "field:%u", out[i].id);
        memset(&out[i].value, 0, sizeof out[i].value);
        out[i].timestamp = (int64_t)at.tv_sec * 1000000 + at.tv_nsec / 1000;
        out[i].latency = 1;
        out[i].ret = enter(call, dev->gpu, &effect);
        if (!out[i].ret)
            out[i].ret = one_field(dev, &out[i]);
        sim_leave();
    }
    return ret;
}

/* ---- events ------------------------------------------------------------------------------ */

struct set { u64 types[MAX_GPUS]; int seen; };
struct event { dev_t_ dev; u64 type, data; unsigned gpu_instance, compute_instance; };

WIDE(nvmlDeviceGetSupportedEventTypes, "events")

API ret_t nvmlEventSetCreate(struct set **out)
{
    struct effect effect;
    ret_t ret = enter(__func__, -1, &effect);
    if (!ret) {
        *out = calloc(1, sizeof **out);
        ret = *out ? OK : 20;
    }
    if (!ret)
        (*out)->seen = json_length(sim_get(-1, "events"));
    LEAVE;
}

API ret_t nvmlDeviceRegisterEvents(dev_t_ dev, u64 types, struct set *set)
{
    u64 supported = 0;
    ENTER(dev);
    if (!ret)
        ret = get_u64(dev, "events", &supported);
    if (!ret)
        ret = set && !(types & ~supported) ? OK : NOT_SUPPORTED;
    if (!ret)
        set->types[dev->gpu] |= types;
    LEAVE;
}

/* The next event that the state has and the set asked for. */
static int next_event(struct set *set, struct event *out)
{
    const struct json *list = sim_get(-1, "events");
    const struct json *one = list ? list->first : NULL;
    for (int i = 0; one; one = one->next, i++) {
        u64 gpu = MAX_GPUS;
        if (i < set->seen)
            continue;
        set->seen = i + 1;
        memset(out, 0, sizeof *out);
        json_unsigned(json_at(one, "gpu"), &gpu);
        json_unsigned(json_at(one, "type"), &out->type);
        json_unsigned(json_at(one, "data"), &out->data);
        if (gpu < MAX_GPUS && set->types[gpu] & out->type) {
            out->dev = handle_of((int)gpu, -1);
            out->gpu_instance = out->compute_instance = UINT32_MAX;
            return 1;
        }
    }
    return 0;
}

API ret_t nvmlEventSetWait_v2(struct set *set, struct event *out, unsigned timeout_ms)
{
    struct effect effect;
    ret_t ret = enter(__func__, -1, &effect);
    struct timespec rest = {.tv_nsec = 10000000};
    for (unsigned waited = 0; !ret; waited += 10) {
        if (next_event(set, out))
            LEAVE;
        if (waited >= timeout_ms) {
            ret = TIMEOUT;
            break;
        }
        sim_leave();
        nanosleep(&rest, NULL);
        ret = from_standing(sim_look());
    }
    LEAVE;
}

API ret_t nvmlEventSetFree(struct set *set)
{
    struct effect effect;
    ret_t ret = enter(__func__, -1, &effect);
    if (!ret)
        free(set);
    LEAVE;
}
