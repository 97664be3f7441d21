src/hashcode/within_support.o: src/hashcode/within_support.c \
 src/hashcode/hashcode.h src/compat.h src/hamming/hamming.h
src/hashcode/hashcode.h:
src/compat.h:
src/hamming/hamming.h:
