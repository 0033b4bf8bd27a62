#include "textflag.h"

// func identity() uintptr
TEXT ·identity(SB), NOSPLIT, $0-8
	MOVQ (TLS), AX
	MOVQ AX, ret+0(FP)
	RET

// func callers(stack *[8]uintptr)
TEXT ·callers(SB), NOSPLIT|NOFRAME, $0-8
	MOVQ stack+0(FP), DI
	MOVQ BP, SI
	MOVQ $8, CX
next:
	TESTQ SI, SI
	JZ   done
	MOVQ 8(SI), AX
	MOVQ AX, (DI)
	ADDQ $8, DI
	MOVQ (SI), SI
	DECQ CX
	JNZ  next
done:
	RET
