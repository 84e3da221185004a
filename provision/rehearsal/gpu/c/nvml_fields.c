/* SPDX-License-Identifier: Apache-2.0
 *
 * Field values, and events.
 */
#include "nvml.h"

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
