#include "MallocAccount.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __GLIBC__
#include <malloc.h>

/// The size in the last element that begins like this: the one for all arenas together.
static size_t last_size(const char *text, const char *element) {
  const char *last = NULL;
  for (const char *found = text; (found = strstr(found, element)) != NULL; found++) last = found;
  const char *size = last ? strstr(last, "size=\"") : NULL;
  return size ? strtoull(size + 6, NULL, 10) : 0;
}

size_t bytes_in_use(void) {
  // Not mallinfo2(), which knows the main arena only.
  char *text = NULL;
  size_t length = 0;
  FILE *stream = open_memstream(&text, &length);
  if (stream == NULL) return 0;
  malloc_info(0, stream);
  fclose(stream);
  size_t bytes = last_size(text, "<system type=\"current\"") + last_size(text, "<total type=\"mmap\"") -
                 last_size(text, "<total type=\"fast\"") - last_size(text, "<total type=\"rest\"");
  free(text);
  return bytes;
}
#else
size_t bytes_in_use(void) { return 0; }
#endif
