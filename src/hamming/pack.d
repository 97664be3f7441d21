src/hamming/pack.o: src/hamming/pack.c src/hamming/hamming.h
src/hamming/hamming.h:
