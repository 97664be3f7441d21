#include "compat.h"
#include "deephash.h"
void
mih_init(void)
{
}
