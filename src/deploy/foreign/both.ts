/** Two things at a time: a job of the native core, and work of our own. */

/** Waits for a job, and does the rest of the work while it runs. What fails first is thrown when both have ended. */
export async function both<A, B>(job: Promise<A>, meanwhile: () => Promise<B>): Promise<readonly [A, B]> {
  const begun = new Promise((resolve) => setImmediate(resolve)).then(meanwhile)
  await Promise.allSettled([job, begun])
  return await Promise.all([job, begun])
}
