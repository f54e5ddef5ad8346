// Links to a customer on this page, which can be sent to a colleague.

const PREFIX = "#/customers/";

export const route = (id) => PREFIX + encodeURIComponent(id);

export function customerOf(hash) {
  if (!hash.startsWith(PREFIX)) return null;
  try {
    return decodeURIComponent(hash.slice(PREFIX.length)) || null;
  } catch {
    return hash.slice(PREFIX.length);
  }
}
