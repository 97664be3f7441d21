src/hamming/portable.o: src/hamming/portable.c src/hamming/kernels.h \
 src/hamming/hamming.h src/hamming/scalar.h
src/hamming/kernels.h:
src/hamming/hamming.h:
src/hamming/scalar.h:
