/* The look at what a client sent: any bytes. Whatever is taken for a request has its version where it must stand. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/intake/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size ? size : 1); /* exactly as long: the sanitizer sees a byte too far */
    if (!copy)
        return 0;
    memcpy(copy, data, size);
    if (http_is_request(copy, size)) {
        const char *end = memchr(copy, '\n', size);
        if (!end || end - copy < 14 || memcmp(end - 9, "HTTP/1.", 7) != 0)
            abort();
    }
    free(copy);
    return 0;
}
