src/encoder/encoder.o: src/encoder/encoder.c src/compat.h src/deephash.h
src/compat.h:
src/deephash.h:
