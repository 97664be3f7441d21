src/hamming/avx2.o: src/hamming/avx2.c src/hamming/kernels.h \
 src/hamming/hamming.h
src/hamming/kernels.h:
src/hamming/hamming.h:
