src/hamming/neon.o: src/hamming/neon.c src/hamming/kernels.h \
 src/hamming/hamming.h
src/hamming/kernels.h:
src/hamming/hamming.h:
