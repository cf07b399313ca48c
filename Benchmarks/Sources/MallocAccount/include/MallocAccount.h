#include <stddef.h>

/// Bytes that the process has allocated and not freed, by malloc's own account; 0 where malloc keeps none.
size_t bytes_in_use(void);
