src/deephash.o: src/deephash.c src/compat.h src/deephash.h
src/compat.h:
src/deephash.h:
