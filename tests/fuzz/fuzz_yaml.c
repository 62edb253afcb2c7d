/* Configuration files of any bytes: no crash, an error for whatever is not taken, and what is printed loads again. */
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/file.h"
#include "config/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void load(struct config *config, struct config_errors *errors, const char *bytes, size_t size)
{
    memset(config, 0, sizeof *config);
    for (size_t i = 0; i < CONFIG_KEYS; i++)
        if (keys[i].type == KEY_DURATION) /* what the file leaves out is printed, too, and must be taken again */
            memcpy((char *)config + keys[i].offset, &keys[i].min_us, sizeof keys[i].min_us);
    config->stop_signals = 1;
    errors->count = 0;
    strcpy(config->file, "fuzz.yaml");
    file_load_bytes(config, "fuzz.yaml", bytes, size, errors);
}

/* printed → loaded → printed: the same but for the comments. */
static void check_again(const struct config *config)
{
    static struct config again;
    static struct config_errors errors;
    char *bytes = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&bytes, &size);
    if (!stream || config_print(config, stream) == -1)
        abort();
    fclose(stream);
    load(&again, &errors, bytes, size);
    bool too_long = errors.count == 1 && strstr(errors.list[0].text, "longer than");
    if (errors.count > 0 && !too_long) {
        fprintf(stderr, "%s\n%s\n", errors.list[0].text, bytes);
        abort();
    }
    if (!too_long && (again.target_count != config->target_count || again.stop_signals != config->stop_signals ||
                      again.grace_period_us != config->grace_period_us))
        abort();
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config config;
    static struct config_errors errors;
    load(&config, &errors, (const char *)data, size);
    if (errors.count == 0)
        check_again(&config);
    return 0;
}
