/* SPDX-License-Identifier: Apache-2.0
 *
 * Firmware, modes, heat, clocks, power and the PCI Express bus.
 */
#include "nvml.h"

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
