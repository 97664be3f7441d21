src/hamming/popcnt.o: src/hamming/popcnt.c src/hamming/kernels.h \
 src/hamming/hamming.h src/hamming/scalar.h
src/hamming/kernels.h:
src/hamming/hamming.h:
src/hamming/scalar.h:
