#include "compat.h"
#include "deephash.h"
void
encoder_init(void)
{
}
