/* SPDX-License-Identifier: Apache-2.0
 *
 * The library itself, and what it says of the whole system.
 */
#include "nvml.h"

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
