/* SPDX-License-Identifier: Apache-2.0
 *
 * A simulation of the few CUDA driver calls that prove a driver: nothing of it comes from NVIDIA,
 * and nothing computes. Answers come from the state document (sim.h).
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

enum {
    CU_OK = 0, CU_INVALID = 1, CU_NOT_INITIALIZED = 3, CU_NO_DEVICE = 100, CU_BAD_DEVICE = 101,
    CU_FABRIC = 802, CU_MISMATCH = 803, CU_UNKNOWN = 999
};

#ifndef SIMULATED_VERSION
#define SIMULATED_VERSION "580.105.08"
#endif

static int initialised;

static int enter(const char *call, int gpu, int needs_init)
{
    struct effect effect;
    enum standing how = sim_enter(call, gpu, &effect);
    if (how != STATE_OK)
        return how == STATE_MISSING ? CU_NO_DEVICE : CU_UNKNOWN;
    if (effect.answers)
        return (int)effect.answer;
    return needs_init && !initialised ? CU_NOT_INITIALIZED : CU_OK;
}

static int leave(int ret)
{
    sim_leave();
    return ret;
}

static int number(int gpu, const char *path, int otherwise)
{
    unsigned long long found;
    return json_unsigned(sim_get(gpu, path), &found) ? (int)found : otherwise;
}

/* The position in the state of CUDA's device, or -1. */
static int position(int device)
{
    int count = json_length(sim_get(-1, "gpus"));
    for (int gpu = 0; gpu < count; gpu++)
        if (number(gpu, "enumerated", 0) && !device--)
            return gpu;
    return -1;
}

/* Why the driver cannot be used, or 0. */
static int standing(void)
{
    const char *library = json_text(sim_get(-1, "library.version"));
    const char *module = json_text(sim_get(-1, "module.version"));
    if (!sim_module_loaded() || position(0) < 0)
        return CU_NO_DEVICE;
    if (module && strcmp(module, library ? library : SIMULATED_VERSION))
        return CU_MISMATCH;
    /* GPUs behind NVSwitches cannot be used before they are registered with the fabric. */
    for (int device = 0, gpu; (gpu = position(device)) >= 0; device++)
        if (sim_get(gpu, "fabric.state") && number(gpu, "fabric.state", 0) != 3)
            return CU_FABRIC;
    return CU_OK;
}

API int cuInit(unsigned flags)
{
    int ret = enter(__func__, -1, 0);
    if (!ret)
        ret = flags ? CU_INVALID : standing();
    initialised = !ret;
    return leave(ret);
}

API int cuDriverGetVersion(int *out)
{
    int ret = enter(__func__, -1, 0);
    if (!ret)
        *out = number(-1, "driver.cuda", 0);
    return leave(ret);
}

API int cuDeviceGetCount(int *out)
{
    int ret = enter(__func__, -1, 1);
    if (!ret) {
        *out = 0;
        while (position(*out) >= 0)
            ++*out;
    }
    return leave(ret);
}

API int cuDeviceGet(int *out, int ordinal)
{
    int ret = enter(__func__, -1, 1);
    if (!ret)
        ret = ordinal >= 0 && position(ordinal) >= 0 ? CU_OK : CU_BAD_DEVICE;
    if (!ret)
        *out = ordinal;
    return leave(ret);
}

API int cuDeviceGetName(char *out, int size, int device)
{
    int gpu, ret = enter(__func__, -1, 1);
    const char *name;
    if (ret)
        return leave(ret);
    gpu = device >= 0 ? position(device) : -1;
    name = gpu < 0 ? NULL : json_text(sim_get(gpu, "name"));
    if (!name || size < 1)
        return leave(CU_BAD_DEVICE);
    snprintf(out, (size_t)size, "%s", name);
    return leave(CU_OK);
}

API int cuDeviceTotalMem_v2(size_t *out, int device)
{
    unsigned long long total = 0;
    int gpu, ret = enter(__func__, -1, 1);
    if (ret)
        return leave(ret);
    gpu = device >= 0 ? position(device) : -1;
    if (gpu < 0)
        return leave(CU_BAD_DEVICE);
    json_unsigned(sim_get(gpu, "memory.total"), &total);
    *out = (size_t)total;
    return leave(CU_OK);
}

API int cuGetErrorName(int code, const char **out)
{
    static const struct { int code; const char *name; } table[] = {
        {CU_OK, "CUDA_SUCCESS"}, {CU_INVALID, "CUDA_ERROR_INVALID_VALUE"},
        {CU_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED"},
        {CU_NO_DEVICE, "CUDA_ERROR_NO_DEVICE"}, {CU_BAD_DEVICE, "CUDA_ERROR_INVALID_DEVICE"},
        {CU_FABRIC, "CUDA_ERROR_SYSTEM_NOT_READY"},
        {CU_MISMATCH, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"},
        {CU_UNKNOWN, "CUDA_ERROR_UNKNOWN"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].code == code) {
            *out = table[i].name;
            return CU_OK;
        }
    *out = NULL;
    return CU_INVALID;
}
