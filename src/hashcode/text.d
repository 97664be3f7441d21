src/hashcode/text.o: src/hashcode/text.c src/hashcode/text.h \
 src/hashcode/hashcode.h src/compat.h src/hamming/hamming.h
src/hashcode/text.h:
src/hashcode/hashcode.h:
src/compat.h:
src/hamming/hamming.h:
