/* SPDX-License-Identifier: Apache-2.0
 *
 * A simulation of nvidia-smi for rehearsals: the part of it that people and probes call most. No
 * part of it comes from NVIDIA. Like the real one it knows nothing but what NVML tells it, so it
 * fails as the library fails.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef unsigned ret_t;
typedef void *dev_t_;

enum { NOT_SUPPORTED = 3, LIBRARY = 12, FUNCTION = 13, LOST = 15, RESET = 16 };

static void *library;

static void *find(const char *name)
{
    return library ? dlsym(library, name) : NULL;
}

#define CALL(name, types, ...)                                     \
    ({                                                             \
        ret_t(*function) types = (ret_t(*) types)find(name);       \
        function ? function(__VA_ARGS__) : (ret_t)FUNCTION;        \
    })

/* ---- what can be asked of a GPU ---------------------------------------------------------- */

enum way { TEXT, NUMBER, FIRST, SECOND, CLOCK, TOTAL, MEMORY, BUS, INDEX, DRIVER, COUNT, ECC, FABRIC };
enum look { PLAIN, MIB, WATTS, MHZ, PERCENT, CELSIUS, ENABLED, PSTATE, CAPABILITY, MODE };

struct field {
    const char *name;
    const char *call;
    enum way way;
    enum look look;
    int which;
};

static const struct field fields[] = {
    {"index", NULL, INDEX, PLAIN, 0},
    {"count", NULL, COUNT, PLAIN, 0},
    {"driver_version", NULL, DRIVER, PLAIN, 0},
    {"name", "nvmlDeviceGetName", TEXT, PLAIN, 0},
    {"gpu_name", "nvmlDeviceGetName", TEXT, PLAIN, 0},
    {"uuid", "nvmlDeviceGetUUID", TEXT, PLAIN, 0},
    {"gpu_uuid", "nvmlDeviceGetUUID", TEXT, PLAIN, 0},
    {"serial", "nvmlDeviceGetSerial", TEXT, PLAIN, 0},
    {"gpu_serial", "nvmlDeviceGetSerial", TEXT, PLAIN, 0},
    {"vbios_version", "nvmlDeviceGetVbiosVersion", TEXT, PLAIN, 0},
    {"inforom.image", "nvmlDeviceGetInforomImageVersion", TEXT, PLAIN, 0},
    {"pci.bus_id", NULL, BUS, PLAIN, 0},
    {"gpu_bus_id", NULL, BUS, PLAIN, 0},
    {"persistence_mode", "nvmlDeviceGetPersistenceMode", NUMBER, ENABLED, 0},
    {"compute_mode", "nvmlDeviceGetComputeMode", NUMBER, MODE, 0},
    {"compute_cap", "nvmlDeviceGetCudaComputeCapability", FIRST, CAPABILITY, 0},
    {"mig.mode.current", "nvmlDeviceGetMigMode", FIRST, ENABLED, 0},
    {"mig.mode.pending", "nvmlDeviceGetMigMode", SECOND, ENABLED, 0},
    {"ecc.mode.current", "nvmlDeviceGetEccMode", FIRST, ENABLED, 0},
    {"ecc.mode.pending", "nvmlDeviceGetEccMode", SECOND, ENABLED, 0},
    {"ecc.errors.corrected.volatile.total", "nvmlDeviceGetTotalEccErrors", ECC, PLAIN, 0},
    {"ecc.errors.uncorrected.volatile.total", "nvmlDeviceGetTotalEccErrors", ECC, PLAIN, 1},
    {"ecc.errors.corrected.aggregate.total", "nvmlDeviceGetTotalEccErrors", ECC, PLAIN, 2},
    {"ecc.errors.uncorrected.aggregate.total", "nvmlDeviceGetTotalEccErrors", ECC, PLAIN, 3},
    {"pstate", "nvmlDeviceGetPerformanceState", NUMBER, PSTATE, 0},
    {"temperature.gpu", "nvmlDeviceGetTemperature", TOTAL, CELSIUS, 0},
    {"power.draw", "nvmlDeviceGetPowerUsage", NUMBER, WATTS, 0},
    {"power.limit", "nvmlDeviceGetPowerManagementLimit", NUMBER, WATTS, 0},
    {"enforced.power.limit", "nvmlDeviceGetEnforcedPowerLimit", NUMBER, WATTS, 0},
    {"power.default_limit", "nvmlDeviceGetPowerManagementDefaultLimit", NUMBER, WATTS, 0},
    {"clocks.gr", "nvmlDeviceGetClockInfo", CLOCK, MHZ, 0},
    {"clocks.sm", "nvmlDeviceGetClockInfo", CLOCK, MHZ, 1},
    {"clocks.mem", "nvmlDeviceGetClockInfo", CLOCK, MHZ, 2},
    {"clocks.max.gr", "nvmlDeviceGetMaxClockInfo", CLOCK, MHZ, 0},
    {"clocks.max.sm", "nvmlDeviceGetMaxClockInfo", CLOCK, MHZ, 1},
    {"clocks.max.mem", "nvmlDeviceGetMaxClockInfo", CLOCK, MHZ, 2},
    {"utilization.gpu", "nvmlDeviceGetUtilizationRates", FIRST, PERCENT, 1},
    {"utilization.memory", "nvmlDeviceGetUtilizationRates", SECOND, PERCENT, 1},
    {"memory.total", NULL, MEMORY, MIB, 0},
    {"memory.reserved", NULL, MEMORY, MIB, 1},
    {"memory.free", NULL, MEMORY, MIB, 2},
    {"memory.used", NULL, MEMORY, MIB, 3},
    {"pcie.link.gen.current", "nvmlDeviceGetCurrPcieLinkGeneration", NUMBER, PLAIN, 0},
    {"pcie.link.gen.max", "nvmlDeviceGetMaxPcieLinkGeneration", NUMBER, PLAIN, 0},
    {"pcie.link.width.current", "nvmlDeviceGetCurrPcieLinkWidth", NUMBER, PLAIN, 0},
    {"pcie.link.width.max", "nvmlDeviceGetMaxPcieLinkWidth", NUMBER, PLAIN, 0},
    {"fabric.state", NULL, FABRIC, PLAIN, 0},
};

static const struct field *field_named(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!strncmp(fields[i].name, name, length) && !fields[i].name[length])
            return &fields[i];
    return NULL;
}

static const char *on_off(unsigned value)
{
    return value ? "Enabled" : "Disabled";
}

static void shown(enum look look, unsigned long long value, unsigned second, int units, char *out,
                  size_t size)
{
    static const char *const modes[] = {"Default", "Exclusive_Thread", "Prohibited",
                                        "Exclusive_Process"};
    switch (look) {
    case MIB:
        snprintf(out, size, "%llu%s", value >> 20, units ? " MiB" : "");
        break;
    case WATTS:
        snprintf(out, size, "%.2f%s", (double)value / 1000, units ? " W" : "");
        break;
    case MHZ:
        snprintf(out, size, "%llu%s", value, units ? " MHz" : "");
        break;
    case PERCENT:
        snprintf(out, size, "%llu%s", value, units ? " %" : "");
        break;
    case ENABLED:
        snprintf(out, size, "%s", on_off((unsigned)value));
        break;
    case PSTATE:
        snprintf(out, size, "P%llu", value);
        break;
    case CAPABILITY:
        snprintf(out, size, "%llu.%u", value, second);
        break;
    case MODE:
        snprintf(out, size, "%s", value < 4 ? modes[value] : "Unknown");
        break;
    default:
        snprintf(out, size, "%llu", value);
    }
}

struct memory { unsigned version; unsigned long long total, reserved, free, used; };
struct pci { char legacy[16]; unsigned parts[5]; char address[32]; };
struct fabric { unsigned version; unsigned char cluster[16]; unsigned status, clique, state, health; };

static ret_t memory(dev_t_ dev, int which, unsigned long long *out)
{
    struct memory info = {.version = 2u << 24 | sizeof info};
    ret_t ret = CALL("nvmlDeviceGetMemoryInfo_v2", (dev_t_, struct memory *), dev, &info);
    *out = (&info.total)[which];
    return ret;
}

static ret_t bus(dev_t_ dev, char *out, size_t size)
{
    struct pci info;
    ret_t ret = CALL("nvmlDeviceGetPciInfo_v3", (dev_t_, struct pci *), dev, &info);
    if (!ret)
        snprintf(out, size, "%s", info.address);
    return ret;
}

static ret_t fabric(dev_t_ dev, char *out, size_t size)
{
    static const char *const says[] = {"Not Supported", "Not Started", "In Progress", "Completed"};
    struct fabric info = {.version = 2u << 24 | sizeof info};
    ret_t ret = CALL("nvmlDeviceGetGpuFabricInfoV", (dev_t_, struct fabric *), dev, &info);
    if (!ret)
        snprintf(out, size, "%s", info.state < 4 ? says[info.state] : "Unknown");
    return ret;
}

static unsigned count_gpus(void)
{
    unsigned count = 0;
    CALL("nvmlDeviceGetCount_v2", (unsigned *), &count);
    return count;
}

/* A field's value as text. */
static ret_t ask(const struct field *field, dev_t_ dev, unsigned index, int units, char *out,
                 size_t size)
{
    unsigned long long wide = 0;
    unsigned pair[2] = {0, 0};
    ret_t ret = 0;
    switch (field->way) {
    case TEXT:
        return CALL(field->call, (dev_t_, char *, unsigned), dev, out, (unsigned)size);
    case INDEX:
        wide = index;
        break;
    case COUNT:
        wide = count_gpus();
        break;
    case DRIVER:
        return CALL("nvmlSystemGetDriverVersion", (char *, unsigned), out, (unsigned)size);
    case BUS:
        return bus(dev, out, size);
    case FABRIC:
        return fabric(dev, out, size);
    case MEMORY:
        ret = memory(dev, field->which, &wide);
        break;
    case NUMBER:
        ret = CALL(field->call, (dev_t_, unsigned *), dev, &pair[0]);
        wide = pair[0];
        break;
    case CLOCK:
    case TOTAL:
        ret = CALL(field->call, (dev_t_, unsigned, unsigned *), dev, (unsigned)field->which,
                   &pair[0]);
        wide = pair[0];
        break;
    case ECC:
        ret = CALL(field->call, (dev_t_, unsigned, unsigned, unsigned long long *), dev,
                   (unsigned)field->which & 1, (unsigned)field->which >> 1, &wide);
        break;
    default: /* a pair, either as two numbers or as an array of two */
        ret = field->which
                  ? CALL(field->call, (dev_t_, unsigned *), dev, pair)
                  : CALL(field->call, (dev_t_, unsigned *, unsigned *), dev, &pair[0], &pair[1]);
        wide = pair[field->way == SECOND];
    }
    shown(field->look, wide, pair[1], units, out, size);
    return ret;
}

static const char *instead(ret_t ret)
{
    return ret == NOT_SUPPORTED || ret == FUNCTION ? "[N/A]"
           : ret == LOST                           ? "[GPU is lost]"
           : ret == RESET                          ? "[GPU requires reset]"
                                                   : "[Unknown Error]";
}

/* ---- what can be printed ----------------------------------------------------------------- */

static const char *says(ret_t ret)
{
    const char *(*function)(ret_t) = (const char *(*)(ret_t))find("nvmlErrorString");
    return function ? function(ret) : "Unknown Error";
}

static int failed(ret_t ret)
{
    return ret > 255 ? 255 : (int)ret;
}

/* Calls `print` for every GPU, or for the one that `only` names. */
static int each(const char *only, int (*print)(dev_t_, unsigned, void *), void *more)
{
    unsigned count, found = 0;
    int worst = 0;
    ret_t ret = CALL("nvmlDeviceGetCount_v2", (unsigned *), &count);
    if (ret) {
        printf("Unable to determine the number of GPUs: %s\n", says(ret));
        return failed(ret);
    }
    for (unsigned index = 0; index < count; index++) {
        char number[16], uuid[96] = "", address[32] = "";
        dev_t_ dev;
        int code;
        ret = CALL("nvmlDeviceGetHandleByIndex_v2", (unsigned, dev_t_ *), index, &dev);
        if (!ret && only) {
            snprintf(number, sizeof number, "%u", index);
            CALL("nvmlDeviceGetUUID", (dev_t_, char *, unsigned), dev, uuid, sizeof uuid);
            bus(dev, address, sizeof address);
            if (strcmp(only, number) && strcmp(only, uuid) && !(strchr(only, ':') && strcasestr(address, only)))
                continue;
        }
        found++;
        if (ret) {
            printf("Unable to determine the device handle for GPU%u: %s\n", index, says(ret));
            code = failed(ret);
        } else {
            code = print(dev, index, more);
        }
        worst = code ? code : worst;
    }
    if (only && !found) {
        printf("No devices were found\n");
        return 6;
    }
    if (!count)
        printf("No devices were found\n");
    return worst;
}

static int print_listed(dev_t_ dev, unsigned index, void *more)
{
    char name[96], uuid[96];
    ret_t ret = ask(field_named("name", 4), dev, index, 0, name, sizeof name);
    (void)more;
    if (!ret)
        ret = ask(field_named("uuid", 4), dev, index, 0, uuid, sizeof uuid);
    if (ret) {
        printf("Unable to query GPU %u: %s\n", index, says(ret));
        return failed(ret);
    }
    printf("GPU %u: %s (UUID: %s)\n", index, name, uuid);
    for (unsigned number = 0; number < 8; number++) {
        dev_t_ part;
        char whole[96];
        const char *profile;
        if (CALL("nvmlDeviceGetMigDeviceHandleByIndex", (dev_t_, unsigned, dev_t_ *), dev, number,
                 &part))
            break;
        CALL("nvmlDeviceGetUUID", (dev_t_, char *, unsigned), part, uuid, sizeof uuid);
        whole[0] = 0;
        CALL("nvmlDeviceGetName", (dev_t_, char *, unsigned), part, whole, sizeof whole);
        profile = strstr(whole, "MIG ");
        printf("  %-15s Device %2u: (UUID: %s)\n", profile ? profile : "MIG", number, uuid);
    }
    return 0;
}

struct query { const char *names; int header, units; };

static int print_row(dev_t_ dev, unsigned index, void *more)
{
    const struct query *query = more;
    const char *at = query->names;
    char value[128];
    int worst = 0;
    while (*at) {
        size_t length = strcspn(at, ",");
        ret_t ret = ask(field_named(at, length), dev, index, query->units, value, sizeof value);
        printf("%s%s", at == query->names ? "" : ", ", ret ? instead(ret) : value);
        if (ret == LOST || ret == RESET)
            worst = failed(ret);
        at += length + (at[length] == ',');
    }
    putchar('\n');
    return worst;
}

static const char *unit_of(const struct field *field)
{
    static const char *const units[] = {[MIB] = " [MiB]", [WATTS] = " [W]", [MHZ] = " [MHz]",
                                        [PERCENT] = " [%]", [MODE] = NULL};
    return units[field->look] ? units[field->look] : "";
}

static int print_table(const char *only, struct query *query)
{
    const char *at = query->names;
    while (*at) {
        size_t length = strcspn(at, ",");
        const struct field *field = field_named(at, length);
        if (!field) {
            printf("Field \"%.*s\" is not a valid field to query.\n", (int)length, at);
            return 2;
        }
        at += length + (at[length] == ',');
    }
    for (at = query->names; query->header && *at;) {
        size_t length = strcspn(at, ",");
        printf("%s%.*s%s", at == query->names ? "" : ", ", (int)length, at,
               unit_of(field_named(at, length)));
        at += length + (at[length] == ',');
    }
    if (query->header)
        putchar('\n');
    return each(only, print_row, query);
}

struct running { unsigned pid; unsigned long long memory; unsigned gpu_instance, compute_instance; };

static const char *const app_fields[] = {"pid", "process_name", "used_memory", "used_gpu_memory",
                                         "gpu_uuid"};

static int app_field(const char *name, size_t length)
{
    for (int i = 0; i < (int)(sizeof app_fields / sizeof *app_fields); i++)
        if (!strncmp(app_fields[i], name, length) && !app_fields[i][length])
            return i;
    return -1;
}

static void print_app(dev_t_ dev, const struct running *app, const struct query *query)
{
    const char *at = query->names;
    while (*at) {
        size_t length = strcspn(at, ",");
        char text[1024] = "[Not Found]";
        switch (app_field(at, length)) {
        case 0:
            snprintf(text, sizeof text, "%u", app->pid);
            break;
        case 1:
            CALL("nvmlSystemGetProcessName", (unsigned, char *, unsigned), app->pid, text,
                 (unsigned)sizeof text);
            break;
        case 4:
            CALL("nvmlDeviceGetUUID", (dev_t_, char *, unsigned), dev, text, 96);
            break;
        default:
            shown(MIB, app->memory, 0, query->units, text, sizeof text);
        }
        printf("%s%s", at == query->names ? "" : ", ", text);
        at += length + (at[length] == ',');
    }
    putchar('\n');
}

static int print_gpus_apps(dev_t_ dev, unsigned index, void *more)
{
    struct running apps[64];
    unsigned count = sizeof apps / sizeof *apps;
    ret_t ret = CALL("nvmlDeviceGetComputeRunningProcesses_v3",
                     (dev_t_, unsigned *, struct running *), dev, &count, apps);
    (void)index;
    if (ret)
        return failed(ret);
    for (unsigned i = 0; i < count; i++)
        print_app(dev, &apps[i], more);
    return 0;
}

static int print_apps(const char *only, struct query *query)
{
    for (const char *at = query->names; *at;) {
        size_t length = strcspn(at, ",");
        if (app_field(at, length) < 0) {
            printf("Field \"%.*s\" is not a valid field to query.\n", (int)length, at);
            return 2;
        }
        if (query->header)
            printf("%s%.*s%s", at == query->names ? "" : ", ", (int)length, at,
                   strstr(at, "memory") == at + 5 ? " [MiB]" : "");
        at += length + (at[length] == ',');
    }
    if (query->header)
        putchar('\n');
    return each(only, print_gpus_apps, query);
}

static const struct { const char *element, *field; } elements[] = {
    {"product_name", "name"}, {"uuid", "uuid"}, {"serial", "serial"},
    {"vbios_version", "vbios_version"}, {"persistence_mode", "persistence_mode"},
    {"compute_mode", "compute_mode"}, {"performance_state", "pstate"},
    {"mig_mode/current_mig", "mig.mode.current"}, {"mig_mode/pending_mig", "mig.mode.pending"},
    {"ecc_mode/current_ecc", "ecc.mode.current"}, {"ecc_mode/pending_ecc", "ecc.mode.pending"},
    {"pci/pci_bus_id", "pci.bus_id"}, {"fabric/state", "fabric.state"},
    {"fb_memory_usage/total", "memory.total"}, {"fb_memory_usage/reserved", "memory.reserved"},
    {"fb_memory_usage/used", "memory.used"}, {"fb_memory_usage/free", "memory.free"},
    {"utilization/gpu_util", "utilization.gpu"},
    {"utilization/memory_util", "utilization.memory"},
    {"temperature/gpu_temp", "temperature.gpu"},
    {"gpu_power_readings/instant_power_draw", "power.draw"},
    {"gpu_power_readings/current_power_limit", "power.limit"},
    {"clocks/graphics_clock", "clocks.gr"}, {"clocks/sm_clock", "clocks.sm"},
    {"clocks/mem_clock", "clocks.mem"}, {"max_clocks/graphics_clock", "clocks.max.gr"},
    {"max_clocks/sm_clock", "clocks.max.sm"}, {"max_clocks/mem_clock", "clocks.max.mem"},
};

static void escape(const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '<': fputs("&lt;", stdout); break;
        case '>': fputs("&gt;", stdout); break;
        case '&': fputs("&amp;", stdout); break;
        default: putchar(*text);
        }
}

static int print_element(dev_t_ dev, unsigned index, void *more)
{
    char value[128], open[64] = "";
    ret_t ret = bus(dev, value, sizeof value);
    int worst = 0;
    (void)more;
    printf("\t<gpu id=\"%s\">\n", ret ? "unknown" : value);
    for (size_t i = 0; i < sizeof elements / sizeof *elements; i++) {
        const char *path = elements[i].element, *slash = strchr(path, '/');
        const struct field *field = field_named(elements[i].field, strlen(elements[i].field));
        size_t group = slash ? (size_t)(slash - path) : 0;
        if (open[0] && (strncmp(open, path, group) || open[group])) {
            printf("\t\t</%s>\n", open);
            open[0] = 0;
        }
        if (slash && !open[0]) {
            snprintf(open, sizeof open, "%.*s", (int)group, path);
            printf("\t\t<%s>\n", open);
        }
        ret = ask(field, dev, index, 1, value, sizeof value);
        printf("%s<%s>", slash ? "\t\t\t" : "\t\t", slash ? slash + 1 : path);
        escape(ret == NOT_SUPPORTED || ret == FUNCTION ? "N/A" : ret ? instead(ret) : value);
        if (!ret && field->look == CELSIUS)
            fputs(" C", stdout);
        printf("</%s>\n", slash ? slash + 1 : path);
        if (ret == LOST || ret == RESET)
            worst = failed(ret);
    }
    if (open[0])
        printf("\t\t</%s>\n", open);
    printf("\t</gpu>\n");
    return worst;
}

static int print_document(const char *only)
{
    char driver[96] = "", at[64];
    time_t now = time(NULL);
    int cuda = 0, code;
    strftime(at, sizeof at, "%a %b %e %H:%M:%S %Y", localtime(&now));
    CALL("nvmlSystemGetDriverVersion", (char *, unsigned), driver, sizeof driver);
    CALL("nvmlSystemGetCudaDriverVersion_v2", (int *), &cuda);
    printf("<?xml version=\"1.0\" ?>\n<nvidia_smi_log>\n\t<timestamp>%s</timestamp>\n"
           "\t<driver_version>%s</driver_version>\n\t<cuda_version>%d.%d</cuda_version>\n"
           "\t<attached_gpus>%u</attached_gpus>\n",
           at, driver, cuda / 1000, cuda % 1000 / 10, count_gpus());
    code = each(only, print_element, NULL);
    printf("</nvidia_smi_log>\n");
    return code;
}

static int print_summary(dev_t_ dev, unsigned index, void *more)
{
    struct query query = {"index,name,pci.bus_id,temperature.gpu,power.draw,power.limit,"
                          "memory.used,memory.total,utilization.gpu", 0, 1};
    (void)more;
    fputs("| ", stdout);
    return print_row(dev, index, &query);
}

static int usage(void)
{
    puts("nvidia-smi, simulated for a rehearsal; no GPU is here.\n"
         "  nvidia-smi                        a line for each GPU\n"
         "  nvidia-smi -L                     names and UUIDs, with MIG devices\n"
         "  nvidia-smi -q -x                  a part of the XML document\n"
         "  nvidia-smi --query-gpu=A,B --format=csv[,noheader][,nounits]\n"
         "  nvidia-smi --query-compute-apps=A,B --format=csv[,noheader][,nounits]\n"
         "  -i GPU                            only this one, by index, UUID or address");
    return 0;
}

struct asked { const char *only; int list, query, xml, apps; struct query table; };

static int parse(int count, char **words, struct asked *asked)
{
    for (int i = 1; i < count; i++) {
        const char *word = words[i];
        if (!strcmp(word, "-L") || !strcmp(word, "--list-gpus"))
            asked->list = 1;
        else if (!strcmp(word, "-q") || !strcmp(word, "--query"))
            asked->query = 1;
        else if (!strcmp(word, "-x") || !strcmp(word, "--xml-format"))
            asked->xml = 1;
        else if (!strcmp(word, "-i") && i + 1 < count)
            asked->only = words[++i];
        else if (!strncmp(word, "--id=", 5))
            asked->only = word + 5;
        else if (!strncmp(word, "--query-gpu=", 12))
            asked->table.names = word + 12;
        else if (!strncmp(word, "--query-compute-apps=", 21)) {
            asked->table.names = word + 21;
            asked->apps = 1;
        } else if (!strncmp(word, "--format=csv", 12)) {
            asked->table.header = !strstr(word, "noheader");
            asked->table.units = !strstr(word, "nounits");
        } else {
            printf("Option %s is not recognized.\n", word);
            return 2;
        }
    }
    return 0;
}

int main(int count, char **words)
{
    struct asked asked = {.table = {NULL, 1, 1}};
    ret_t ret;
    int code;
    if (count > 1 && (!strcmp(words[1], "-h") || !strcmp(words[1], "--help")))
        return usage();
    code = parse(count, words, &asked);
    if (code)
        return code;
    library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    if (!library) {
        puts("NVIDIA-SMI couldn't find libnvidia-ml.so.1.");
        return LIBRARY;
    }
    ret = CALL("nvmlInit_v2", (void));
    if (ret) {
        printf("Failed to initialize NVML: %s\n", says(ret));
        return failed(ret);
    }
    if (asked.list)
        return each(asked.only, print_listed, NULL);
    if (asked.apps)
        return print_apps(asked.only, &asked.table);
    if (asked.table.names)
        return print_table(asked.only, &asked.table);
    if (asked.query || asked.xml)
        return print_document(asked.only);
    return each(asked.only, print_summary, NULL);
}
