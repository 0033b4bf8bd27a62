#include "textflag.h"

// func identity() uintptr
TEXT ·identity(SB), NOSPLIT, $0-8
	MOVD g, R0
	MOVD R0, ret+0(FP)
	RET

// func callers(stack *[8]uintptr)
TEXT ·callers(SB), NOSPLIT|NOFRAME, $0-8
	MOVD stack+0(FP), R1
	MOVD R29, R2
	MOVD $8, R3
next:
	CBZ  R2, done
	MOVD 8(R2), R4
	MOVD R4, (R1)
	ADD  $8, R1
	MOVD (R2), R2
	SUB  $1, R3
	CBNZ R3, next
done:
	RET
