src/hamming/dispatch.o: src/hamming/dispatch.c src/hamming/kernels.h \
 src/hamming/hamming.h
src/hamming/kernels.h:
src/hamming/hamming.h:
