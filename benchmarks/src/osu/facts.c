/*
 * --facts: behind the table, what decides such figures.  The MPI library that answered, and for each rank how many bytes
 * the interfaces of its node counted meanwhile, beside those that it sent itself.
 */
#include "osu.h"

#include "../common/library.h"

#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOST_ROOM 256

struct counters {
    uint64_t sent;
    uint64_t received;
    uint64_t loopback;
    uint64_t fabric_sent;
    uint64_t fabric_received;
};

struct record {
    struct counters moved;
    uint64_t payload;
    char host[HOST_ROOM];
};

static struct counters before;
static uint64_t payload;

void count_payload(double bytes)
{
    payload += (uint64_t)bytes;
}

/* Interface totals of this network namespace, proc_pid_net(5): name: 8 receive fields, bytes first, then transmit. */
static void read_interfaces(struct counters *total)
{
    char line[1024];
    FILE *file = fopen("/proc/self/net/dev", "re");
    if (file == NULL)
        return;
    while (fgets(line, sizeof line, file) != NULL) {
        uint64_t received = 0;
        uint64_t sent = 0;
        char *name = line + strspn(line, " ");
        char *colon = strchr(name, ':');
        if (colon == NULL)
            continue;
        *colon = '\0';
        if (sscanf(colon + 1, "%" SCNu64 " %*u %*u %*u %*u %*u %*u %*u %" SCNu64, &received, &sent) != 2)
            continue;
        if (strcmp(name, "lo") == 0) {
            total->loopback += sent;
        } else {
            total->sent += sent;
            total->received += received;
        }
    }
    fclose(file);
}

/* RDMA passes by the interfaces; its ports count words of 4 bytes (InfiniBand, PortCounters). */
static uint64_t read_ports(const char *pattern)
{
    uint64_t words = 0;
    glob_t found;
    if (glob(pattern, 0, NULL, &found) != 0)
        return 0;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        uint64_t count = 0;
        FILE *file = fopen(found.gl_pathv[i], "re");
        if (file == NULL)
            continue;
        if (fscanf(file, "%" SCNu64, &count) == 1)
            words += count;
        fclose(file);
    }
    globfree(&found);
    return words * 4;
}

static struct counters read_counters(void)
{
    struct counters now = { 0 };
    read_interfaces(&now);
    now.fabric_sent = read_ports("/sys/class/infiniband/*/ports/*/counters/port_xmit_data");
    now.fabric_received = read_ports("/sys/class/infiniband/*/ports/*/counters/port_rcv_data");
    return now;
}

void begin_facts(void)
{
    before = read_counters();
}

/* Ranks whose program does not count what it sends are left out. */
static void print_traffic(const struct setting *setting)
{
    struct counters after = read_counters();
    struct record mine;
    struct record *all = make_buffer((size_t)setting->size * sizeof mine, 0);
    memset(&mine, 0, sizeof mine);
    mine.moved.sent = after.sent - before.sent;
    mine.moved.received = after.received - before.received;
    mine.moved.loopback = after.loopback - before.loopback;
    mine.moved.fabric_sent = after.fabric_sent - before.fabric_sent;
    mine.moved.fabric_received = after.fabric_received - before.fabric_received;
    mine.payload = payload;
    if (gethostname(mine.host, sizeof mine.host - 1) != 0)
        strcpy(mine.host, "unknown");
    MPI_Gather(&mine, (int)sizeof mine, MPI_BYTE, all, (int)sizeof mine, MPI_BYTE, 0, MPI_COMM_WORLD);
    for (int i = 0; setting->rank == 0 && i < setting->size; i++)
        if (all[i].payload != 0)
            printf("# net bytes rank %d on %s: sent %" PRIu64 " received %" PRIu64 " loopback %" PRIu64
                   " fabric-sent %" PRIu64 " fabric-received %" PRIu64 " payload %" PRIu64 "\n",
                   i, all[i].host, all[i].moved.sent, all[i].moved.received, all[i].moved.loopback,
                   all[i].moved.fabric_sent, all[i].moved.fabric_received, all[i].payload);
    free(all);
}

void print_facts(const struct setting *setting)
{
    if (setting->rank == 0)
        print_library();
    print_traffic(setting);
    fflush(stdout);
}
