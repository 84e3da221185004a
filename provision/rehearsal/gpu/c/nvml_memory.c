/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory, who uses it, and what is broken in it: ECC, remapped rows, retired pages.
 */
#include "nvml.h"

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

ret_t ecc_at(dev_t_ dev, unsigned type, unsigned counter, unsigned where, u64 *out)
{
    char path[64], whole[96];
    ret_t ret = where < 8 ? ecc_place(dev, type, counter, path, sizeof path) : INVALID_ARGUMENT;
    if (ret)
        return ret;
    snprintf(whole, sizeof whole, "%s.%s", path, locations[where]);
    return get_u64(dev, whole, out);
}

ret_t ecc_total(dev_t_ dev, unsigned type, unsigned counter, u64 *out)
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
