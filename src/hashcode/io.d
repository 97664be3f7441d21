src/hashcode/io.o: src/hashcode/io.c src/hashcode/text.h \
 src/hashcode/hashcode.h src/compat.h src/hamming/hamming.h
src/hashcode/text.h:
src/hashcode/hashcode.h:
src/compat.h:
src/hamming/hamming.h:
