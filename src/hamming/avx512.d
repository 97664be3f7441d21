src/hamming/avx512.o: src/hamming/avx512.c src/hamming/kernels.h \
 src/hamming/hamming.h
src/hamming/kernels.h:
src/hamming/hamming.h:
