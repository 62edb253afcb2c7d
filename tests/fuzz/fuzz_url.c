/* URLs of any bytes: no crash, no parameter out of form, and what is printed is read back as the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/print.h"
#include "config/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition) \
    do { \
        if (!(condition)) \
            abort(); \
    } while (0)

/* Every string is "keyword=value", and the list ends within its room. */
static void check_params(const struct url_target *target)
{
    size_t used = 0;
    while (target->params[used]) {
        const char *at = target->params + used;
        size_t length = strnlen(at, sizeof target->params - used);
        REQUIRE(used + length + 1 < sizeof target->params);
        REQUIRE(strchr(at, '=') && strchr(at, '=') > at && strchr(at, '=')[1]);
        used += length + 1;
    }
}

static void check_read_back(const struct url_target *target)
{
    static struct config_target shown;
    static struct url_target again;
    char url[2 * WIRE_PARAMS];
    struct error error;
    struct text text = text_in(url, sizeof url);
    shown = (struct config_target){.kind = target->kind};
    memcpy(shown.params, target->params, sizeof shown.params);
    print_target_url(&shown, &text);
    if (strlen(url) > URL_LONGEST) /* escapes may make it too long */
        return;
    REQUIRE(url_read(&again, url, &error) == URL_OK);
    for (const char *at = target->params; *at; at += strlen(at) + 1) {
        char keyword[64] = "";
        memcpy(keyword, at, strcspn(at, "="));
        const char *value = url_param(again.params, keyword);
        const char *wanted = url_param_is_secret(keyword) ? "****" : strchr(at, '=') + 1;
        REQUIRE(value && strcmp(value, wanted) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct url_target target;
    struct error error = {""};
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    enum url_verdict verdict = url_read(&target, text, &error);
    free(text);
    if (verdict == URL_OK) {
        check_params(&target);
        check_read_back(&target);
    } else {
        REQUIRE(strncmp(error.text, "column ", 7) == 0);
    }
    return 0;
}
