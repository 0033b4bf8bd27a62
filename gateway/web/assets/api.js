// Calls of the HTTP API. They carry no signature: the server accepts that in
// development mode from its own machine only.

export class APIError extends Error {}

// Sends one request and returns the parsed answer.
export async function call(url, options = {}) {
  let response;
  try {
    response = await fetch(url, { cache: 'no-store', credentials: 'omit', ...options });
  } catch {
    throw new APIError('the server cannot be reached');
  }
  let answer = {};
  try {
    answer = await response.json();
  } catch { /* an answer without JSON still has its status */ }
  if (response.ok) return answer;
  if (response.status === 401) {
    throw new APIError('the server wants a signature; pages may publish and read history only in development mode, from the same machine');
  }
  throw new APIError(answer.error ?? `the server answered ${response.status}`);
}
