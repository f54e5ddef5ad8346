// The address of a customer on this page, so that it can be sent to a colleague.

const BEFORE = "#/customers/";

export const route = (id) => BEFORE + encodeURIComponent(id);

export function customerOf(hash) {
  if (!hash.startsWith(BEFORE)) return null;
  try {
    return decodeURIComponent(hash.slice(BEFORE.length)) || null;
  } catch {
    return hash.slice(BEFORE.length);
  }
}
