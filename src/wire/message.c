/* The one table of messages, and the one place where a packet is checked.
 *
 * Everything the other program says passes through message_is_valid() before anybody looks at it: exact size, counts,
 * enums and NULs. Nothing here allocates, and no byte is read before its presence was checked. Fields are read by
 * memcpy, since a packet may stand anywhere. */
#include "wire/message.h"

#include <string.h>

#include "common/log.h"

#define MEMBER_SIZE(type, member) sizeof(((type *)0)->member)

enum field_form { FIELD_UNSIGNED, FIELD_SIGNED, FIELD_TERNARY, FIELD_STRING, FIELD_STRING_LIST };

/* What a field may hold. Strings need a NUL within their array; a ternary is 0, 1 or 255. */
struct field_rule {
    uint16_t offset, size;
    enum field_form form;
    int64_t min, max; /* of numbers, both included */
};

#define UNSIGNED(type, member, low, high)                                                                             \
    {offsetof(type, member), MEMBER_SIZE(type, member), FIELD_UNSIGNED, low, high}
#define SIGNED(type, member, low, high)                                                                               \
    {offsetof(type, member), MEMBER_SIZE(type, member), FIELD_SIGNED, low, high}
#define FLAG(type, member) UNSIGNED(type, member, 0, 1)
#define TERNARY(type, member) {offsetof(type, member), MEMBER_SIZE(type, member), FIELD_TERNARY, 0, 0}
#define STRING(type, member) {offsetof(type, member), MEMBER_SIZE(type, member), FIELD_STRING, 0, 0}
#define STRING_LIST(type, member) {offsetof(type, member), MEMBER_SIZE(type, member), FIELD_STRING_LIST, 0, 0}
#define LAST_RULE {0, 0, FIELD_UNSIGNED, 0, 0}

static const struct field_rule settings_rules[] = {
    SIGNED(struct message_settings, sample_interval_us, 0, INT64_MAX),
    SIGNED(struct message_settings, supervisor_pid, 1, INT32_MAX),
    SIGNED(struct message_settings, log_level, LOG_LEVEL_ERROR, LOG_LEVEL_DEBUG),
    FLAG(struct message_settings, query_text),
    STRING(struct message_settings, application_name),
    LAST_RULE,
};

static const struct field_rule target_rules[] = {
    UNSIGNED(struct message_target, index, 0, WIRE_TARGETS - 1),
    UNSIGNED(struct message_target, kind, TARGET_POSTGRES, TARGET_REDIS),
    FLAG(struct message_target, look_only),
    SIGNED(struct message_target, server, -1, WIRE_TARGETS - 1),
    STRING(struct message_target, name),
    STRING_LIST(struct message_target, params),
    LAST_RULE,
};

static const struct field_rule look_rules[] = {
    FLAG(struct message_look, want_text),
    FLAG(struct message_look, with_own),
    FLAG(struct message_look, whole),
    SIGNED(struct message_look, left_out, 0, INT32_MAX),
    UNSIGNED(struct message_look, inbound, INBOUND_NOT, INBOUND_ALONE),
    LAST_RULE,
};

static const struct field_rule target_state_rules[] = {
    UNSIGNED(struct message_target_state, target, 0, WIRE_TARGETS - 1),
    UNSIGNED(struct message_target_state, up, TARGET_UNKNOWN, TARGET_DOWN),
    FLAG(struct message_target_state, answered),
    SIGNED(struct message_target_state, answer_us, -1, INT64_MAX),
    SIGNED(struct message_target_state, server_sessions, -1, INT32_MAX),
    SIGNED(struct message_target_state, server_max, -1, INT32_MAX),
    FLAG(struct message_target_state, translated),
    UNSIGNED(struct message_target_state, kind, 0, TARGET_REDIS),
    STRING(struct message_target_state, why),
    LAST_RULE,
};

static const struct field_rule rows_rules[] = {
    FLAG(struct message_rows, last),
    UNSIGNED(struct message_rows, sockets_seen, 0, 2),
    FLAG(struct message_rows, owners_seen),
    FLAG(struct message_rows, alone),
    LAST_RULE,
};

/* One of the others that hold a row's socket; pid 0: none. */
#define OTHER(at)                                                                                                     \
    SIGNED(struct handle_row, others[at].pid, 0, INT32_MAX), SIGNED(struct handle_row, others[at].fd, -1, INT32_MAX)
_Static_assert(SOCKET_OTHERS == 7, "a rule for each");

static const struct field_rule row_rules[] = {
    SIGNED(struct handle_row, pid, -1, INT32_MAX),
    SIGNED(struct handle_row, fd, -1, INT32_MAX),
    UNSIGNED(struct handle_row, local.family, ENDPOINT_NONE, ENDPOINT_UNIX),
    UNSIGNED(struct handle_row, remote.family, ENDPOINT_NONE, ENDPOINT_UNIX),
    UNSIGNED(struct handle_row, target, 0, WIRE_TARGETS - 1),
    UNSIGNED(struct handle_row, known_by, KNOWN_SOCKET_ONLY, KNOWN_EXACT),
    UNSIGNED(struct handle_row, state, SESSION_UNKNOWN, SESSION_REPLICATION),
    TERNARY(struct handle_row, tls),
    FLAG(struct handle_row, has_info),
    TERNARY(struct handle_row, epoll),
    TERNARY(struct handle_row, waits_for_client),
    TERNARY(struct handle_row, told_apart),
    OTHER(0), OTHER(1), OTHER(2), OTHER(3), OTHER(4), OTHER(5), OTHER(6),
    STRING(struct handle_row, query),
    LAST_RULE,
};

static const struct field_rule end_rules[] = {
    UNSIGNED(struct message_end, target, 0, WIRE_TARGETS - 1),
    FLAG(struct message_end, only_if_still_there),
    FLAG(struct message_end, spare_busy),
    LAST_RULE,
};

static const struct field_rule ended_rules[] = {
    UNSIGNED(struct message_ended, target, 0, WIRE_TARGETS - 1),
    STRING(struct message_ended, why),
    LAST_RULE,
};

static const struct field_rule found_rules[] = {
    SIGNED(struct message_found, target, -1, WIRE_TARGETS - 1),
    UNSIGNED(struct message_found, what, 0, FOUND_KINDS - 1),
    UNSIGNED(struct message_found, answer, FOUND_UNKNOWN, FOUND_YES),
    UNSIGNED(struct message_found, kind, 0, TARGET_REDIS),
    SIGNED(struct message_found, took_us, -1, INT64_MAX),
    STRING(struct message_found, text),
    LAST_RULE,
};

static const struct field_rule inbound_rules[] = {
    FLAG(struct message_inbound, sockets_seen),
    FLAG(struct message_inbound, owners_seen),
    LAST_RULE,
};

static const struct field_rule inbound_row_rules[] = {
    SIGNED(struct inbound_row, pid, -1, INT32_MAX),
    SIGNED(struct inbound_row, fd, -1, INT32_MAX),
    FLAG(struct inbound_row, has_info),
    LAST_RULE,
};

static const struct field_rule predecessor_rules[] = {
    SIGNED(struct message_predecessor, started_us, 0, INT64_MAX),
    LAST_RULE,
};

static const struct field_rule predecessor_ended_rules[] = {
    UNSIGNED(struct message_predecessor_ended, target, 0, WIRE_TARGETS - 1),
    FLAG(struct message_predecessor_ended, known),
    UNSIGNED(struct message_predecessor_ended, ended, 0, INT32_MAX),
    UNSIGNED(struct message_predecessor_ended, left, 0, INT32_MAX),
    STRING(struct message_predecessor_ended, why),
    LAST_RULE,
};

static const struct field_rule how_rules[] = {
    {0, sizeof(uint8_t), FIELD_UNSIGNED, ENDED_UNKNOWN, ENDED_IN_TRANSACTION},
    LAST_RULE,
};

static const struct field_rule no_rules[] = {LAST_RULE};

struct message_shape {
    const char *name;
    size_t fixed, element, max_count; /* a message is `fixed` + count × `element` bytes */
    const struct field_rule *rules, *element_rules;
};

#define FIXED_SHAPE(name, type, rules) {name, sizeof(type), 0, 0, rules, no_rules}

static const struct message_shape shapes[MESSAGE_KINDS] = {
    [MESSAGE_SETTINGS] = FIXED_SHAPE("SETTINGS", struct message_settings, settings_rules),
    [MESSAGE_TARGET] = FIXED_SHAPE("TARGET", struct message_target, target_rules),
    [MESSAGE_READY] = FIXED_SHAPE("READY", struct message_ready, no_rules),
    [MESSAGE_LOOK] = FIXED_SHAPE("LOOK", struct message_look, look_rules),
    [MESSAGE_TARGET_STATE] = FIXED_SHAPE("TARGET_STATE", struct message_target_state, target_state_rules),
    [MESSAGE_ROWS] = {"ROWS", sizeof(struct message_rows), sizeof(struct handle_row), WIRE_ROWS, rows_rules, row_rules},
    [MESSAGE_END] = {"END", sizeof(struct message_end), sizeof(struct end_session), WIRE_SESSIONS, end_rules, no_rules},
    [MESSAGE_ENDED] = {"ENDED", sizeof(struct message_ended), sizeof(uint8_t), WIRE_SESSIONS, ended_rules, how_rules},
    [MESSAGE_FOUND] = FIXED_SHAPE("FOUND", struct message_found, found_rules),
    [MESSAGE_INBOUND] = {"INBOUND", sizeof(struct message_inbound), sizeof(struct inbound_row), WIRE_INBOUND,
                         inbound_rules, inbound_row_rules},
    [MESSAGE_PREDECESSOR] = FIXED_SHAPE("PREDECESSOR", struct message_predecessor, predecessor_rules),
    [MESSAGE_PREDECESSOR_ENDED] =
        FIXED_SHAPE("PREDECESSOR_ENDED", struct message_predecessor_ended, predecessor_ended_rules),
};

/* The elements begin where the fixed part ends, and the largest message fits into a packet. */
_Static_assert(offsetof(struct message_rows, rows) == sizeof(struct message_rows), "no padding before the rows");
_Static_assert(offsetof(struct message_end, sessions) == sizeof(struct message_end), "no padding before the sessions");
_Static_assert(offsetof(struct message_ended, how) == sizeof(struct message_ended), "no padding before the answers");
_Static_assert(sizeof(struct message_rows) + WIRE_ROWS * sizeof(struct handle_row) <= WIRE_PACKET, "rows fit");
_Static_assert(sizeof(struct message_end) + WIRE_SESSIONS * sizeof(struct end_session) <= WIRE_PACKET, "sessions fit");
_Static_assert(sizeof(struct message_target) <= WIRE_PACKET, "a target fits");
_Static_assert(offsetof(struct message_inbound, rows) == sizeof(struct message_inbound), "no padding before the rows");
_Static_assert(sizeof(struct message_inbound) + WIRE_INBOUND * sizeof(struct inbound_row) <= WIRE_PACKET,
               "inbound rows fit");

static uint64_t unsigned_at(const unsigned char *at, size_t size)
{
    uint64_t value = 0; /* on a big-endian host the field is the end of the value, else its beginning */
    unsigned char *to = (unsigned char *)&value;
    if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
        to += sizeof value - size;
    memcpy(to, at, size);
    return value;
}

static int64_t signed_at(const unsigned char *at, size_t size)
{
    unsigned unused_bits = 64 - 8 * (unsigned)size;
    return (int64_t)(unsigned_at(at, size) << unused_bits) >> unused_bits;
}

/* Strings one behind the other, ended by an empty one, all within `size` bytes. */
static _Bool string_list_ends(const char *at, size_t size)
{
    while (size > 0) {
        size_t length = strnlen(at, size);
        if (length == size)
            return 0;
        if (length == 0)
            return 1;
        at += length + 1;
        size -= length + 1;
    }
    return 0;
}

static _Bool field_is_valid(const struct field_rule *rule, const unsigned char *at)
{
    switch (rule->form) {
    case FIELD_STRING:
        return memchr(at, 0, rule->size) != NULL;
    case FIELD_STRING_LIST:
        return string_list_ends((const char *)at, rule->size);
    case FIELD_TERNARY:
        return *at <= 1 || *at == 255;
    case FIELD_SIGNED:
        return signed_at(at, rule->size) >= rule->min && signed_at(at, rule->size) <= rule->max;
    case FIELD_UNSIGNED:
        return unsigned_at(at, rule->size) >= (uint64_t)rule->min && unsigned_at(at, rule->size) <= (uint64_t)rule->max;
    }
    return 0;
}

static _Bool fields_are_valid(const struct field_rule *rules, const unsigned char *at)
{
    for (; rules->size != 0; rules++)
        if (!field_is_valid(rules, at + rules->offset))
            return 0;
    return 1;
}

static const struct message_shape *shape_of(const struct message_header *header)
{
    if (header->kind >= MESSAGE_KINDS || shapes[header->kind].name == NULL)
        return NULL;
    return &shapes[header->kind];
}

_Bool message_is_valid(const void *packet, size_t size)
{
    struct message_header header;
    if (size < sizeof header)
        return 0;
    memcpy(&header, packet, sizeof header);
    const struct message_shape *shape = shape_of(&header);
    if (shape == NULL || header.size != size || header.count > shape->max_count)
        return 0;
    if (size != shape->fixed + header.count * shape->element)
        return 0;
    if (!fields_are_valid(shape->rules, packet))
        return 0;
    const unsigned char *element = (const unsigned char *)packet + shape->fixed;
    for (unsigned i = 0; i < header.count; i++, element += shape->element)
        if (!fields_are_valid(shape->element_rules, element))
            return 0;
    return 1;
}

static const char *name_in(const char *const *names, size_t count, unsigned index)
{
    return index < count && names[index] != NULL ? names[index] : "?";
}
#define NAME_IN(names, index) name_in(names, sizeof(names) / sizeof((names)[0]), index)

const char *message_kind_name(unsigned kind)
{
    return kind < MESSAGE_KINDS && shapes[kind].name != NULL ? shapes[kind].name : "?";
}

const char *session_state_name(unsigned state)
{
    static const char *const names[] = {
        [SESSION_UNKNOWN] = "unknown",
        [SESSION_ABSENT] = "absent",
        [SESSION_STARTING] = "starting",
        [SESSION_IDLE] = "idle",
        [SESSION_ACTIVE] = "active",
        [SESSION_IN_TRANSACTION] = "idle in transaction",
        [SESSION_IN_FAILED_TRANSACTION] = "idle in transaction (aborted)",
        [SESSION_WAITING] = "waiting",
        [SESSION_BLOCKED] = "blocked",
        [SESSION_SUBSCRIBED] = "subscribed",
        [SESSION_MONITORING] = "monitoring",
        [SESSION_REPLICATION] = "replication",
    };
    return NAME_IN(names, state);
}

const char *known_by_name(unsigned known_by)
{
    static const char *const names[] = {
        [KNOWN_SOCKET_ONLY] = "socket only", [KNOWN_BY_NAME] = "by name", [KNOWN_EXACT] = "exact"};
    return NAME_IN(names, known_by);
}

const char *target_kind_name(unsigned kind)
{
    static const char *const names[] = {
        [TARGET_POSTGRES] = "postgres", [TARGET_PGBOUNCER] = "pgbouncer", [TARGET_REDIS] = "redis"};
    return NAME_IN(names, kind);
}
