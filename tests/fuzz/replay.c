/* A plain main() for the fuzz harnesses: gives each file of the named directories to LLVMFuzzerTestOneInput() once.
 * Fails when there was no file at all: a corpus that is not there proves nothing. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { LARGEST_BYTES = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    uint8_t *data = malloc(LARGEST_BYTES);
    FILE *file = fopen(path, "rbe");
    if (!file || !data) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    size_t size = fread(data, 1, LARGEST_BYTES, file);
    fclose(file);
    /* A buffer of exactly the size, so that the sanitizer sees a read past its end. */
    uint8_t *exact = malloc(size ? size : 1);
    if (!exact)
        exit(2);
    memcpy(exact, data, size);
    free(data);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 1;
}

static int replay_directory(const char *path)
{
    int count = 0;
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        char name[4096];
        struct stat status;
        if (snprintf(name, sizeof name, "%s/%s", path, entry->d_name) < (int)sizeof name && stat(name, &status) == 0 &&
            S_ISREG(status.st_mode))
            count += replay_file(name);
    }
    if (dir)
        closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    int count = 0;
    for (int i = 1; i < argc; i++)
        count += replay_directory(argv[i]);
    printf("%d inputs, none failed\n", count);
    return count == 0;
}
