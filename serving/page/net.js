// Asking the API, with the key of this tab if it needs one.

const KEPT = "ebb-key";

export const key = () => sessionStorage.getItem(KEPT);
export const keepKey = (value) => sessionStorage.setItem(KEPT, value);

export class Refused extends Error {
  constructor(problem) {
    super(problem.detail ?? problem.title);
    this.problem = problem;
  }
}

// With a `body` it is a POST.
export async function ask(path, body) {
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
    // Not a problem document: something between the page and the API answered.
  }
  throw new Refused({ ...problem, status: response.status });
}
