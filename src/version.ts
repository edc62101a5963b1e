/** Equal to package.json's, which test/architecture.test.ts holds; a constant, so that no start reads one file more. */
export const version = '0.1.0'
