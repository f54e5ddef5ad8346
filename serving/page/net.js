// Requests to the API, with the key stored in this tab if there is one.

const STORAGE_KEY = "ebb-key";

export const key = () => sessionStorage.getItem(STORAGE_KEY);
export const storeKey = (value) => sessionStorage.setItem(STORAGE_KEY, value);

export class ApiError extends Error {
  constructor(problem) {
    super(problem.detail ?? problem.title);
    this.problem = problem;
  }
}

// A GET, or a POST if there is a `body`.
export async function request(path, body) {
  const headers = key() ? { Authorization: `Bearer ${key()}` } : {};
  const options = { headers, cache: "no-store" };
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  }
  const response = await fetch(path, options);
  if (response.ok) return response.json();
  let problem = { status: response.status, title: response.statusText };
  try {
    problem = await response.json();
  } catch {
    // Not a problem document: a proxy between the page and the API answered.
  }
  throw new ApiError({ ...problem, status: response.status });
}
