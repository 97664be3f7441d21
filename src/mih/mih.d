src/mih/mih.o: src/mih/mih.c src/compat.h src/deephash.h
src/compat.h:
src/deephash.h:
