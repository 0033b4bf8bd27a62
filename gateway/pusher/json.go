package pusher

const hexDigits = "0123456789abcdef"

// growth is the number of additional bytes that [AppendString] writes for a byte.
var growth = func() (more [256]uint8) {
	for c := range 0x20 {
		more[c] = uint8(len(`\u0000`) - 1)
	}
	for _, c := range "\"\\\n\r\t" {
		more[c] = 1
	}
	return more
}()

// Escapes returns by how many bytes a text grows in [AppendString], without the quotes. It is called for each
// publication, so it uses a table instead of branches.
func Escapes(s []byte) (n int) {
	for _, c := range s {
		n += int(growth[c])
	}
	return n
}

// AppendString appends s as a JSON string with quotes. s must be valid UTF-8. Only what RFC 8259 requires is
// escaped, so that frames stay short.
func AppendString[T ~string | ~[]byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
