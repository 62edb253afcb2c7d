/* "9000=off, 8443=50ms": see config/ports.h. Sets nothing unless all of it is right. */
#include "config/ports.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "config/duration.h"
#include "config/errors.h"

static const char separators[] = "[], \t";

static int refuse(struct error *error, const char *word, const char *story)
{
    char shown[256];
    struct text text = text_in(shown, sizeof shown);
    config_quote(&text, word);
    return error_set(error, "%s %s", shown, story);
}

static long port_of(const char *text, size_t length)
{
    size_t digits = strspn(text, "0123456789");
    long port = strtol(text, NULL, 10);
    return digits == length && digits > 0 && digits <= 5 && port >= 1 && port <= 65535 ? port : -1;
}

static bool is_there(const struct config_ports *ports, long port)
{
    for (size_t i = 0; i < ports->count; i++)
        if (ports->list[i].port == port)
            return true;
    return false;
}

/* "9000=off". */
static int add_port(struct config_ports *ports, const char *word, struct error *error)
{
    const char *equals = strchr(word, '=');
    long port = equals ? port_of(word, (size_t)(equals - word)) : -1;
    int64_t idle_us = CONFIG_PORT_OFF;
    if (port < 0)
        return refuse(error, word, "is no port of the app: write 9000=off, 8443=50ms");
    if (strcmp(equals + 1, "off") != 0 && (duration_parse(equals + 1, &idle_us) == -1 || idle_us < US_PER_MS))
        return refuse(error, word, "has no idle time: write off, or a duration such as 50ms");
    if (is_there(ports, port))
        return refuse(error, word, "names a port that was named before");
    if (ports->count == CONFIG_PORTS)
        return error_set(error, "names more than %d ports", CONFIG_PORTS);
    ports->list[ports->count++] = (struct config_port){(uint16_t)port, idle_us};
    return 0;
}

int ports_set(struct config *config, const struct key *key, const char *value, struct error *error)
{
    char copy[512];
    char *rest = NULL;
    struct config_ports ports = {.count = 0};
    if (!text_copy(copy, sizeof copy, value))
        return error_set(error, "is too long for a list of ports");
    for (char *word = strtok_r(copy, separators, &rest); word; word = strtok_r(NULL, separators, &rest))
        if (add_port(&ports, word, error) == -1)
            return -1;
    memcpy((char *)config + key->offset, &ports, sizeof ports);
    return 0;
}

void ports_format(const struct config *config, const struct key *key, struct text *text)
{
    const struct config_ports *ports = (const void *)((const char *)config + key->offset);
    for (size_t i = 0; i < ports->count; i++) {
        text_add(text, "%s%u=", i ? ", " : "", ports->list[i].port);
        if (ports->list[i].idle_us == CONFIG_PORT_OFF)
            text_add(text, "off");
        else
            duration_format(ports->list[i].idle_us, text);
    }
}

void ports_describe(const struct key *key, struct text *text)
{
    (void)key;
    text_add(text, "PORT=off or PORT=TIME, more with commas between them");
}
