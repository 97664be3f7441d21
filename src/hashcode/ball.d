src/hashcode/ball.o: src/hashcode/ball.c src/hashcode/ball.h \
 src/hashcode/hashcode.h src/compat.h src/hamming/hamming.h \
 src/hashcode/text.h
src/hashcode/ball.h:
src/hashcode/hashcode.h:
src/compat.h:
src/hamming/hamming.h:
src/hashcode/text.h:
