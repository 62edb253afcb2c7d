/* Bounded text: see common/text.h. */
#include "common/text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct text text_in(char *at, size_t size)
{
    at[0] = 0;
    return (struct text){.at = at, .size = size};
}

void text_add(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t room = text->size - text->length;
    int n = vsnprintf(text->at + text->length, room, format, args);
    va_end(args);
    if (n < 0)
        return;
    text->cut |= (size_t)n >= room;
    text->length += (size_t)n < room ? (size_t)n : room - 1;
}

void text_add_bytes(struct text *text, const char *bytes, size_t length)
{
    size_t room = text->size - text->length - 1;
    text->cut |= length > room;
    if (length > room)
        length = room;
    memcpy(text->at + text->length, bytes, length);
    text->length += length;
    text->at[text->length] = 0;
}

/* The code point that starts at `at` and its length in bytes; length 0 when it is not valid UTF-8 (RFC 3629). */
static size_t utf8_decode(const unsigned char *at, size_t left, uint32_t *code)
{
    static const struct { unsigned char mask, lead; uint32_t least; } forms[] = {
        {0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t n = 1; n <= 4; n++) {
        if ((at[0] & forms[n - 1].mask) != forms[n - 1].lead)
            continue;
        if (n > left)
            return 0;
        *code = at[0] & (unsigned char)~forms[n - 1].mask;
        for (size_t i = 1; i < n; i++) {
            if ((at[i] & 0xc0) != 0x80)
                return 0;
            *code = *code << 6 | (at[i] & 0x3f);
        }
        bool surrogate = *code >= 0xd800 && *code <= 0xdfff;
        return *code < forms[n - 1].least || *code > 0x10ffff || surrogate ? 0 : n;
    }
    return 0;
}

static bool code_is_printable(uint32_t code)
{
    bool control = code < 0x20 || (code >= 0x7f && code < 0xa0);
    bool breaks = code == 0x2028 || code == 0x2029;
    bool bidi = code == 0x61c || (code >= 0x200e && code <= 0x200f) || (code >= 0x202a && code <= 0x202e) ||
                (code >= 0x2066 && code <= 0x2069);
    bool noncharacter = (code & 0xfffe) == 0xfffe || code == 0xfeff;
    return !control && !breaks && !bidi && !noncharacter;
}

/* A whole piece or nothing of it: half an escape or half a character would say something else. */
static bool text_add_piece(struct text *text, const char *piece, size_t length)
{
    if (text->length + length + 1 > text->size) {
        text->cut = true;
        return false;
    }
    text_add_bytes(text, piece, length);
    return true;
}

static bool text_add_hex(struct text *text, const unsigned char *at, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char piece[8];
        snprintf(piece, sizeof piece, "\\x%02x", at[i]);
        if (!text_add_piece(text, piece, 4))
            return false;
    }
    return true;
}

void text_add_escaped(struct text *text, const char *bytes, size_t length)
{
    const unsigned char *at = (const unsigned char *)bytes;
    for (size_t i = 0; i < length && at[i];) {
        uint32_t code = 0;
        size_t n = utf8_decode(at + i, length - i, &code);
        bool ok = n && code_is_printable(code) ? text_add_piece(text, bytes + i, n)
                                               : text_add_hex(text, at + i, n ? n : 1);
        if (!ok)
            return;
        i += n ? n : 1;
    }
}

void text_add_duration(struct text *text, long long us)
{
    long long seconds = us / 1000000;
    if (us < 0)
        text_add(text, "unknown");
    else if (us < 1000)
        text_add(text, "%lldus", us);
    else if (seconds < 1)
        text_add(text, "%lld ms", us / 1000);
    else if (seconds < 60)
        text_add(text, "%lld.%lld s", seconds, us % 1000000 / 100000);
    else if (seconds < 3600)
        text_add(text, "%lldm%02llds", seconds / 60, seconds % 60);
    else
        text_add(text, "%lldh%02lldm", seconds / 3600, seconds % 3600 / 60);
}

bool text_copy(char *at, size_t size, const char *from)
{
    size_t length = strlen(from);
    bool fits = length < size;
    if (!fits)
        length = size - 1;
    memcpy(at, from, length);
    memset(at + length, 0, size - length);
    return fits;
}
