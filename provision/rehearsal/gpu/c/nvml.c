/* SPDX-License-Identifier: Apache-2.0
 *
 * A simulation of NVML for rehearsals: no part of it comes from NVIDIA, and no GPU is behind it.
 * Names, arguments and struct layouts are those that nvidia-ml-py declares; every answer comes from
 * the state document (sim.h). A value that is null there answers "not supported".
 */
#include "nvml.h"

static struct handle handles[MAX_GPUS][MAX_MIG + 1];
int initialised;

dev_t_ handle_of(int gpu, int mig)
{
    struct handle *one = &handles[gpu][mig + 1];
    one->gpu = gpu;
    one->mig = mig;
    return one;
}

int is_handle(const struct handle *dev)
{
    return dev >= &handles[0][0] && dev <= &handles[MAX_GPUS - 1][MAX_MIG];
}

/* ---- entering a call --------------------------------------------------------------------- */

ret_t from_standing(enum standing how)
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
ret_t enter(const char *call, int gpu, struct effect *effect)
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

ret_t enter_device(const char *call, dev_t_ dev, struct effect *effect)
{
    ret_t ret = enter(call, is_handle(dev) ? dev->gpu : -1, effect);
    if (ret || is_handle(dev))
        return ret;
    return INVALID_ARGUMENT;
}

/* ---- values ------------------------------------------------------------------------------ */

const struct json *value_of(dev_t_ dev, const char *path)
{
    char whole[128];
    if (dev->mig < 0)
        return sim_get(dev->gpu, path);
    snprintf(whole, sizeof whole, "mig.devices.%d.%s", dev->mig, path);
    return sim_get(dev->gpu, whole);
}

ret_t get_u64(dev_t_ dev, const char *path, u64 *out)
{
    return json_unsigned(value_of(dev, path), out) ? OK : NOT_SUPPORTED;
}

ret_t get_u32(dev_t_ dev, const char *path, unsigned *out)
{
    u64 wide;
    ret_t ret = get_u64(dev, path, &wide);
    if (!ret)
        *out = wide > UINT32_MAX ? UINT32_MAX : (unsigned)wide;
    return ret;
}

ret_t get_int(dev_t_ dev, const char *path, int *out)
{
    long long wide;
    if (!json_signed(value_of(dev, path), &wide))
        return NOT_SUPPORTED;
    *out = (int)wide;
    return OK;
}

/* Numbers that a struct has beside the one that decides whether the call is supported. */
u64 or_zero(dev_t_ dev, const char *path)
{
    u64 found = 0;
    get_u64(dev, path, &found);
    return found;
}

size_t from_hex(const char *digits, char *out, size_t room)
{
    size_t length = 0;
    unsigned byte;
    while (length < room && sscanf(digits + 2 * length, "%2x", &byte) == 1)
        out[length++] = (char)byte;
    return length;
}

ret_t give_text(const struct json *value, char *out, unsigned size, struct effect *effect)
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

ret_t get_choice(dev_t_ dev, const char *prefix, const char *const *names, size_t count,
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

ret_t give_pci(const struct json *from, struct pci *out)
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
