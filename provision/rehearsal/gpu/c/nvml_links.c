/* SPDX-License-Identifier: Apache-2.0
 *
 * NVLink, what GPUs are to each other, and the fabric.
 */
#include "nvml.h"

/* ---- NVLink, peers, fabric --------------------------------------------------------------- */

ret_t link_path(dev_t_ dev, unsigned link, const char *name, char *path, size_t size)
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
