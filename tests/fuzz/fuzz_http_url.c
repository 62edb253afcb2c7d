/* A hook's URL of any bytes: no crash; what is taken has no byte that could break out of a request's lines. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/http_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

static void check_text(const char *text, size_t room)
{
    require(memchr(text, 0, room) != NULL && *text);
    for (; *text; text++)
        require(*text > ' ' && *text <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_url url;
    struct error error = {""};
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    int result = http_url_parse(&url, text, &error);
    require(result == 0 || (result == -1 && *error.text));
    require(result == -1 || http_url_is_meant(text));
    if (result == 0) {
        check_text(url.method, sizeof url.method);
        check_text(url.host, sizeof url.host);
        check_text(url.port, sizeof url.port);
        check_text(url.path, sizeof url.path);
        require(url.path[0] == '/' && !strpbrk(url.host, "/@?#"));
    }
    free(text);
    return 0;
}
