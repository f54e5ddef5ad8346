// Links to a customer on this page, which can be sent to a colleague, and the customer in a query.

const PREFIX = "#/customers/";

// What has no UTF-8, half of a surrogate pair, names nobody and must not throw.
const encoded = (id) => encodeURIComponent(id.toWellFormed?.() ?? id);

export const route = (id) => PREFIX + encoded(id);

// In a path a browser would change `.` and `..`, and a proxy `%2F`.
export const queryOf = (id) => `customer_id=${encoded(id)}`;

export function customerOf(hash) {
  if (!hash.startsWith(PREFIX)) return null;
  try {
    return decodeURIComponent(hash.slice(PREFIX.length)) || null;
  } catch {
    return hash.slice(PREFIX.length);
  }
}
