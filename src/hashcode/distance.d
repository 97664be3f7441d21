src/hashcode/distance.o: src/hashcode/distance.c src/hashcode/hashcode.h \
 src/compat.h src/hamming/hamming.h src/hashcode/ball.h
src/hashcode/hashcode.h:
src/compat.h:
src/hamming/hamming.h:
src/hashcode/ball.h:
